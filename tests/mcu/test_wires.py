"""The chip on its serial lines: monitor chips on one, CAN as SLCAN on two, pins on a bench's."""

from __future__ import annotations

from pathlib import Path

import pytest
from bms_hil import sil, wires

from bms import spec
from bms.firmware import config
from bms.sim import Simulation

pytestmark = [
    pytest.mark.mcu,
    pytest.mark.slow("serial lines of an emulator"),
    pytest.mark.skipif(bool(wires.missing()), reason=f"needs {wires.missing()}"),
]
PACK, WITHIN_S = "bench_16s1p", 10.0


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> wires.Wired:
    return wires.build(tmp_path_factory.mktemp("wired"))


def trace(simulation: Simulation) -> int:
    return int(simulation.world.parts["loop"]["trace_hash"][0])


def state(simulation: Simulation) -> str:
    return spec.state_name(int(simulation.world.parts["vehicle"]["obs_state"][0]))


def test_in_lock_step_it_drives_and_is_the_same_bit_for_bit(
    wired: wires.Wired, tmp_path: Path
) -> None:
    here = Simulation(sil.SCENARIO, pack=PACK)
    with wires.WiredBoard(wired, here.config, tmp_path) as board:
        there = Simulation(sil.SCENARIO, pack=PACK, firmware=board.library)
        for run in (there, here):
            run.run(0.1, record=False)
            run.request("drive")
        while state(there) != "normal_drive" and there.time_s < WITHIN_S:
            for run in (there, here):
                run.run(0.5, record=False)
            assert trace(there) == trace(here), f"first differs before {there.time_s:.1f} s"
        assert board.is_alive
        assert state(there) == "normal_drive"
        assert int(there.world.parts["plant"]["contactor_closed"][0]) & 3 == 3
        there.inject("SYS-02")  # a reset: it boots again over the same lines
        here.inject("SYS-02")
        for run in (there, here):
            run.run(0.5, record=False)
        assert trace(there) == trace(here)
        assert int(there.world.parts["plant"]["contactor_closed"][0]) == 0
        board.close()
        there.run(0.2, record=False)
        assert not board.is_alive


@pytest.mark.wires
def test_on_its_own_clock_it_drives(wired: wires.Wired, tmp_path: Path) -> None:
    here = Simulation(sil.SCENARIO, pack=PACK)
    told = config.build(here.cell, here.pack, line_delay_ms=wires.LINE_DELAY_MS)
    with wires.WiredBoard(wired, told, tmp_path, stretch=wires.STRETCH) as board:
        run = Simulation(sil.SCENARIO, pack=PACK, firmware=board.library)
        run.run(0.1, record=False)
        run.request("drive")
        while state(run) != "normal_drive" and run.time_s < WITHIN_S:
            run.run(0.1, record=False)
        assert board.is_alive
        assert state(run) == "normal_drive"
        assert int(run.world.parts["plant"]["contactor_closed"][0]) & 3 == 3
        run.inject("SYS-02")  # a reset: what the board said before it counts no more
        run.run(0.3, record=False)
        assert board.is_alive
        assert int(run.world.parts["plant"]["contactor_closed"][0]) == 0
        assert state(run) in ("init", "selftest")
