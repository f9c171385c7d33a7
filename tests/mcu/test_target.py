"""The firmware as ARM code on an emulated Cortex-M4F: the same bits as on the host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bms_hil import target

from bms.sim import Simulation

pytestmark = [
    pytest.mark.mcu,
    pytest.mark.slow("a microcontroller in QEMU"),
    pytest.mark.skipif(bool(target.missing()), reason=f"needs {target.missing()}"),
]
STACK_MAX, FLASH_MAX = 8 << 10, 256 << 10  # bytes; what a Cortex-M4F of this class has to spare


def trace(simulation: Simulation) -> int:
    return int(simulation.world.parts["loop"]["trace_hash"][0])


def compared(board: target.Board, scenario: str, pack: str, seconds: float) -> None:
    """The same run on both; every byte, frame and pin has to be the same."""
    there = Simulation(scenario, pack=pack, seed=3, firmware=board.library)
    here = Simulation(scenario, pack=pack, seed=3)
    for _ in range(4):
        there.run(seconds / 4, record=False)
        here.run(seconds / 4, record=False)
        assert board.is_alive
        assert trace(there) == trace(here), f"first differs before {there.time_s:.1f} s"


def test_a_drive_is_the_same_bit_for_bit(board: target.Board) -> None:
    compared(board, "drive", "car_96s1p", 30.0)
    assert 0 < board.stack_bytes < STACK_MAX


def test_a_fast_charge_is_the_same_bit_for_bit(board: target.Board) -> None:
    compared(board, "fast_charge_15_90", "bench_16s1p", 20.0)


@pytest.mark.long("ten simulated minutes of a whole pack")
def test_ten_minutes_are_the_same_bit_for_bit(board: target.Board) -> None:
    compared(board, "drive", "car_96s1p", 600.0)


def test_the_image_fits(built: target.Target) -> None:
    assert 0 < built.image.flash_bytes < FLASH_MAX


def test_a_microcontroller_that_hangs_opens_the_contactors(board: target.Board) -> None:
    run = Simulation("drive", pack="bench_16s1p", seed=1, firmware=board.library)
    run.run(6.0, record=False)
    plant = run.world.parts["plant"]
    assert int(plant["contactor_closed"][0]) & 3 == 3
    board.close()
    run.run(0.2, record=False)
    assert not board.is_alive
    assert int(plant["contactor_closed"][0]) == 0


def test_two_packs_take_turns_on_one_chip(board: target.Board) -> None:
    both = [Simulation("drive", pack="bench_16s1p", seed=k, firmware=board.library) for k in (1, 2)]
    for _ in range(12):
        for simulation in both:
            simulation.run(0.5, record=False)
    for k, simulation in enumerate(both, 1):
        alone = Simulation("drive", pack="bench_16s1p", seed=k)
        alone.run(6.0, record=False)
        assert trace(simulation) == trace(alone)


def test_a_snapshot_of_the_chip_goes_on_as_it_did(board: target.Board) -> None:
    run = Simulation("drive", pack="bench_16s1p", seed=1, firmware=board.library)
    run.run(6.0, record=False)
    kept = run.snapshot()
    run.run(2.0, record=False)
    first = trace(run)
    run.restore(kept)
    run.run(2.0, record=False)
    assert trace(run) == first


def test_requirements_hold_on_the_microcontroller(tmp_path: Path) -> None:
    names = "interlock or crash or request_to_drive or standby_opens or SYS or test_target"
    command = [sys.executable, "-m", "bms.cli", "hil", "--rig", "mcu", "-k", names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.long("every requirement")
def test_all_requirements_hold_on_the_microcontroller(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bms.cli", "hil", "--rig", "mcu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
