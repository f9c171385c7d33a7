"""Resets, watchdog and flipped bits of the emulated chip."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bms_hil import target

from bms.sim import Simulation

pytestmark = [
    pytest.mark.mcu,
    pytest.mark.slow("a microcontroller in QEMU"),
    pytest.mark.skipif(bool(target.missing()), reason=f"needs {target.missing()}"),
]
HOST_CELLS = 400  # with as many the chip's state is laid out as the host's


def driving(firmware: Path | None, seed: int = 1) -> Simulation:
    made = Simulation("drive", pack="bench_16s1p", seed=seed, firmware=firmware)
    made.run(6.0, record=False)
    assert closed(made) == 3
    return made


def closed(simulation: Simulation) -> int:
    return int(simulation.world.parts["plant"]["contactor_closed"][0]) & 3


def told(simulation: Simulation, kind: str) -> list[tuple[str, str]]:
    return [(e.name, e.text) for e in simulation.events if e.kind == kind]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[target.Board]:
    folder = tmp_path_factory.mktemp("wide")
    with target.Board(target.build(folder, HOST_CELLS), folder) as board:
        yield board


@pytest.mark.parametrize("spoil", ["stand_still", "corrupt_code"])
def test_the_watchdog_ends_what_stands_still_and_says_so(board: target.Board, spoil: str) -> None:
    run = driving(board.library)
    getattr(board, spoil)()
    run.run(0.05, record=False)
    assert closed(run) == 3, "pins keep their levels while the chip stands"
    assert board.bites == 1
    assert board.faults == (spoil == "corrupt_code")
    run.run(0.15, record=False)
    assert closed(run) == 0
    run.run(2.0, record=False)
    assert told(run, "reset") == [("ecu reset", "watchdog")]
    assert ("reset_unexpected", "warn raised") in told(run, "diagnosis")
    assert closed(run) == 0
    assert board.bites == 1, "the code was loaded again"


def test_every_start_resets_the_whole_chip(board: target.Board) -> None:
    boots = board.boots
    run = driving(board.library)
    assert board.boots == boots + 1
    board.write(0x20000000, b"\xaa" * 4)
    run.inject("SYS-02")
    run.run(0.2, record=False)
    assert board.boots == boots + 2
    assert board.bites == 0
    assert board.read(0x20000000, 4) != b"\xaa" * 4, "its variables begin anew"


def test_a_chip_that_waits_is_not_bitten(board: target.Board) -> None:
    run = driving(board.library)
    board.read(0, 4)
    with pytest.raises(TimeoutError):  # a while in which nobody asks the chip for anything
        board.bell.settimeout(4.0)
        board.bell.recv(1)
    board.bell.setblocking(False)
    run.run(0.5, record=False)
    assert board.bites == 0
    assert closed(run) == 3


def test_flipped_bits_do_on_the_chip_what_they_do_on_the_host(
    wide: target.Board, seed: int
) -> None:
    """Same bit, same moment, same frames: so the flip did happen in the chip's memory."""
    chance = random.Random(seed)
    there, here = driving(wide.library), driving(None)
    assert wide.state_bytes == len(here.world.firmware_bytes)
    kept = there.snapshot(), here.snapshot()
    for _ in range(8):
        there.restore(kept[0])
        here.restore(kept[1])
        index, bit = chance.randrange(wide.state_bytes), 1 << chance.randrange(8)
        for run in (there, here):
            run.inject("SYS-04", index=index, value=float(bit))
            run.run(1.0, record=False)
        traces = [int(run.world.parts["loop"]["trace_hash"][0]) for run in (there, here)]
        assert traces[0] == traces[1], f"byte {index}, bits {bit}"


def test_a_flipped_bit_of_the_state_machine_opens(wide: target.Board) -> None:
    run = driving(wide.library)
    coils = next(p for p in Simulation("drive", pack="bench_16s1p").probes if p.name == "coils")
    run.inject("SYS-04", index=coils.offset)
    run.run(0.1, record=False)
    assert closed(run) == 0
