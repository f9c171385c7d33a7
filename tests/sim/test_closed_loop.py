"""The pack, its chips and sensors, the vehicle and the firmware, closed through bytes and pins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from bms import scenarios
from bms.sim import Simulation

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path, folder: Path) -> Path:
    """A shared library of a firmware in one C file."""
    library = folder / f"{source.stem}.so"
    command = ["cc", "-shared", "-fPIC", f"-I{ROOT}/ext/firmware", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


@pytest.fixture(scope="module")
def empty_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT / "examples/empty_firmware/empty.c", tmp_path_factory.mktemp("empty"))


def test_a_drive_has_no_trip_and_the_true_soc_stays_inside_the_interval() -> None:
    run = Simulation("drive", seed=1).run(record=False)
    assert run.summary["trips"] == 0
    assert run.summary["soc_inside_interval_frac"] >= 0.99
    assert run.summary["soc_rmse_frac"] < 0.02
    assert run.summary["energy_residual_frac"] < 1e-6
    assert run.summary["contactors_final"] == 0


def test_the_current_sensor_counts_the_charge_that_flowed() -> None:
    simulation = Simulation("drive", seed=1)
    parts = simulation.world.parts
    flowed_as = 0.0
    for _ in range(6000):
        simulation.run(0.01, record=False)
        flowed_as += 0.01 * float(parts["plant"]["pack_current_a"][0])
    counted_as = float(parts["ivt"]["charge_as"][0])
    assert flowed_as > 100.0
    assert counted_as == pytest.approx(flowed_as, rel=0.02)


def test_a_drive_on_measured_speed_traces(data_dir: Path) -> None:
    for cycle in ("wltc_class3b.csv", "us06.csv"):
        summary = (
            Simulation("drive", cycle=data_dir / "drive_cycles" / cycle).run(record=False).summary
        )
        assert summary["trips"] == 0, cycle
        assert summary["soc_inside_interval_frac"] == 1.0, cycle


@pytest.mark.parametrize("name", scenarios.names())
def test_only_a_firmware_can_close_the_contactors(empty_firmware: Path, name: str) -> None:
    simulation = Simulation(name, firmware=empty_firmware)
    plant = simulation.world.parts["plant"]
    for _ in range(20):
        simulation.run(1.0, record=False)
        assert int(plant["contactor_closed"][0]) == 0
    assert abs(float(plant["pack_current_a"][0])) == 0.0


def test_the_contactors_open_when_the_firmware_stops_kicking_the_watchdog(tmp_path: Path) -> None:
    """A firmware that closes everything and then hangs: the reset takes its outputs away."""
    simulation = Simulation("drive", firmware=build(ROOT / "tests/c/firmware_hang.c", tmp_path))
    simulation.run(0.39, record=False)
    loop, plant = simulation.world.parts["loop"], simulation.world.parts["plant"]
    assert int(plant["contactor_closed"][0]) != 0 and int(loop["resets"][0]) == 0
    simulation.run(0.02, record=False)
    assert int(loop["resets"][0]) == 1
    assert any(e.kind == "reset" and e.text == "watchdog" for e in simulation.events)


def test_a_foreign_firmware_that_writes_nonsense_is_bounded_and_counted(tmp_path: Path) -> None:
    simulation = Simulation("drive", firmware=build(ROOT / "tests/c/firmware_wild.c", tmp_path))
    simulation.run(2.0, record=False)
    assert int(simulation.world.parts["loop"]["step_errors"][0]) > 1000
    assert float(simulation.world.parts["plant"]["heater_frac"][0]) == 1.0


def test_the_vehicle_decodes_what_cantools_decodes() -> None:
    """The observer's scale factors are written by hand; the DBC file is the judge."""
    from bms.protocols import dbc

    simulation = Simulation("drive", seed=2)
    run = simulation.run(12.0, frames=True)
    vehicle = simulation.world.parts["vehicle"]
    last = {}
    for frame in run.recording.frames:
        if frame.bus == 0 and frame.direction == 1:
            last[frame.id] = frame.data
    pack, soc, limits = (dbc.decode(i, last[i]) for i in (0x101, 0x103, 0x102))
    assert vehicle["obs_pack_voltage_v"][0] == pytest.approx(pack["PackVoltage"], rel=1e-6)
    assert vehicle["obs_pack_current_a"][0] == pytest.approx(
        pack["PackCurrent"], rel=1e-6, abs=1e-6
    )
    assert vehicle["obs_soc_frac"][0] == pytest.approx(soc["Soc"] / 100, rel=1e-6)
    assert vehicle["obs_charge_limit_a"][0] == pytest.approx(limits["ChargeCurrentLimit"], rel=1e-6)
    cells = np.full(96, np.nan)
    for frame in run.recording.frames:
        if frame.id == 0x110:
            decoded = dbc.decode(0x110, frame.data)
            for k in range(4):
                cells[4 * int(decoded["Group"]) + k] = decoded[f"Cell{k}"]
    assert np.allclose(vehicle["obs_cell_voltage_v"][:96], cells, rtol=1e-6)


def test_the_vehicle_survives_any_bytes_and_counts_them(tmp_path: Path) -> None:
    simulation = Simulation("drive", firmware=build(ROOT / "tests/c/firmware_noise.c", tmp_path))
    simulation.run(20.0, record=False)
    vehicle, plant = simulation.world.parts["vehicle"], simulation.world.parts["plant"]
    assert int(vehicle["e2e_errors"][0]) > 1000
    assert int(vehicle["malformed"][0]) > 500
    assert int(plant["contactor_closed"][0]) == 0
    assert np.isfinite(plant["cell_soc_frac"][:288]).all()


def test_acts_reach_the_world_at_their_time(tmp_path: Path) -> None:
    text = (ROOT / "src/bms/scenarios/drive.toml").read_text()
    path = tmp_path / "act.toml"
    act = 'at_s = 5.0\nfield = "loop.interlock"\nvalue = 0.0\ntext = "interlock opened"\n'
    path.write_text(f"{text}\n[[act]]\n{act}")
    simulation = Simulation(path)
    simulation.run(12.0, record=False)
    opened = [
        e
        for e in simulation.events
        if e.kind == "contactor" and "opened" in e.name and e.t_ns > 5e9
    ]
    assert opened and opened[0].t_ns < 5.3e9, "interlock budget is 150 ms plus contactor travel"
    assert int(simulation.world.parts["plant"]["contactor_closed"][0]) == 0
