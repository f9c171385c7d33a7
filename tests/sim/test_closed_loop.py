"""The pack, its chips and sensors, the vehicle and the firmware, closed through bytes and pins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from bms import scenarios
from bms.sim import Simulation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def empty_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("empty") / "empty.so"
    source = ROOT / "examples/empty_firmware/empty.c"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{ROOT}/ext/firmware", str(source), "-o", str(library)], check=True)
    return library


def test_a_drive_has_no_trip_and_the_true_soc_stays_inside_the_interval() -> None:
    run = Simulation("drive", seed=1).run(record=False)
    assert run.summary["trips"] == 0
    assert run.summary["soc_inside_interval_frac"] >= 0.99
    assert run.summary["soc_rmse_frac"] < 0.02
    assert run.summary["energy_residual_frac"] < 1e-6
    assert run.summary["contactors_final"] == 0


def test_a_drive_on_measured_speed_traces(data_dir: Path) -> None:
    for cycle in ("wltc_class3b.csv", "us06.csv"):
        summary = Simulation("drive", cycle=data_dir / "drive_cycles" / cycle).run(record=False).summary
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
    source = tmp_path / "hang.c"
    source.write_text(
        '#include "ecu.h"\n#include <string.h>\n'
        "struct ecu { uint32_t n; };\n"
        "uint32_t ecu_abi(void) { return ECU_ABI; }\nconst char *ecu_version(void) { return \"hang\"; }\n"
        "size_t ecu_size(void) { return sizeof(struct ecu); }\n"
        "int ecu_init(ecu_t *s, const ecu_boot_t *b) { (void)b; s->n = 0; return 0; }\n"
        "void ecu_step(ecu_t *s, const ecu_in_t *in, ecu_out_t *out) { (void)in; s->n++;\n"
        "  out->pins.digital = 7u; out->watchdog_kick = s->n < 300u; }\n"
    )
    library = tmp_path / "hang.so"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{ROOT}/ext/firmware", str(source), "-o", str(library)], check=True)
    simulation = Simulation("drive", firmware=library)
    simulation.run(0.39, record=False)
    loop, plant = simulation.world.parts["loop"], simulation.world.parts["plant"]
    assert int(plant["contactor_closed"][0]) != 0 and int(loop["resets"][0]) == 0
    simulation.run(0.02, record=False)
    assert int(loop["resets"][0]) == 1
    assert any(e.kind == "reset" and e.text == "watchdog" for e in simulation.events)


def test_a_foreign_firmware_that_writes_nonsense_is_bounded_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "wild.c"
    source.write_text(
        '#include "ecu.h"\n'
        "struct ecu { uint32_t n; };\n"
        "uint32_t ecu_abi(void) { return ECU_ABI; }\nconst char *ecu_version(void) { return \"wild\"; }\n"
        "size_t ecu_size(void) { return sizeof(struct ecu); }\n"
        "int ecu_init(ecu_t *s, const ecu_boot_t *b) { (void)b; s->n = 0; return 0; }\n"
        "void ecu_step(ecu_t *s, const ecu_in_t *in, ecu_out_t *out) { (void)s; (void)in; out->can_count = 60000; out->watchdog_kick = true;\n"
        "  out->uart[0].count = 60000; out->uart[0].baud = 1; out->can[0].length = 255; out->can[0].bus = 9; out->pins.heater_pptt = 65535;\n"
        "  out->nvm_want.op = 200; out->nvm_want.page = 60000; }\n"
    )
    library = tmp_path / "wild.so"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{ROOT}/ext/firmware", str(source), "-o", str(library)], check=True)
    simulation = Simulation("drive", firmware=library)
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
    assert vehicle["obs_pack_current_a"][0] == pytest.approx(pack["PackCurrent"], rel=1e-6, abs=1e-6)
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
    """A firmware that babbles random frames over the whole identifier range of the BMS."""
    source = tmp_path / "noise.c"
    source.write_text(
        '#include "ecu.h"\n'
        "struct ecu { uint32_t n; };\n"
        "uint32_t ecu_abi(void) { return ECU_ABI; }\nconst char *ecu_version(void) { return \"noise\"; }\n"
        "size_t ecu_size(void) { return sizeof(struct ecu); }\n"
        "int ecu_init(ecu_t *s, const ecu_boot_t *b) { (void)b; s->n = 7; return 0; }\n"
        "static uint32_t draw(ecu_t *s) { return (s->n = s->n * 1664525u + 1013904223u) >> 8; }\n"
        "void ecu_step(ecu_t *s, const ecu_in_t *in, ecu_out_t *out) { (void)in; out->watchdog_kick = true; out->can_count = 2;\n"
        "  for (int k = 0; k < 2; ++k) { ecu_can_frame_t *f = &out->can[k]; f->id = 0x100u + draw(s) % 0x18u; f->bus = 0;\n"
        "    f->length = draw(s) % 16u ? 8 : (uint8_t)(draw(s) % 9u); f->flags = draw(s) % 32u ? 0 : (uint8_t)(draw(s) % 16u);\n"
        "    for (int j = 0; j < 8; ++j) f->data[j] = (uint8_t)draw(s); } }\n"
    )
    library = tmp_path / "noise.so"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{ROOT}/ext/firmware", str(source), "-o", str(library)], check=True)
    simulation = Simulation("drive", firmware=library)
    simulation.run(20.0, record=False)
    vehicle, plant = simulation.world.parts["vehicle"], simulation.world.parts["plant"]
    assert int(vehicle["e2e_errors"][0]) > 1000
    assert int(vehicle["malformed"][0]) > 500
    assert int(plant["contactor_closed"][0]) == 0
    assert np.isfinite(plant["cell_soc_frac"][:288]).all()


def test_acts_reach_the_world_at_their_time(tmp_path: Path) -> None:
    text = (ROOT / "src/bms/scenarios/drive.toml").read_text()
    path = tmp_path / "act.toml"
    path.write_text(text + '\n[[act]]\nat_s = 5.0\nfield = "loop.interlock"\nvalue = 0.0\ntext = "interlock opened"\n')
    simulation = Simulation(path)
    simulation.run(12.0, record=False)
    opened = [e for e in simulation.events if e.kind == "contactor" and "opened" in e.name and e.t_ns > 5e9]
    assert opened and opened[0].t_ns < 5.3e9, "interlock budget is 150 ms plus contactor travel"
    assert int(simulation.world.parts["plant"]["contactor_closed"][0]) == 0
