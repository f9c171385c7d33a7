"""The pack as an FMI 3.0 unit: valid, and the same bits as the plant it is made of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bms import _plant, cells, packs
from bms.cli import main
from bms.errors import ConfigError
from bms.plant import build

REASON = "pip install 'solid-bms[fmi]' fmpy"
fmpy = pytest.importorskip("fmpy", reason=REASON)
pytest.importorskip("pythonfmu3", reason=REASON)

PACK = "bench_16s1p"
PLAN = ((0.0, 0b000, 0, 0.0), (0.1, 0b110, 0, 0.0), (0.8, 0b111, 0, 0.0), (1.2, 0b011, 1, 50.0))
"""From when, coils, load mode, load current."""


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fmu") / "pack.fmu"
    assert main(["fmu", PACK, "--out", str(out)]) == 0
    return out


def by_hand(seconds: float) -> dict[str, Any]:
    """The plant driven by the same plan, step by step."""
    plant = _plant.Plant()
    pack = packs.load(PACK)
    build.fill(
        plant.fields, cells.load(pack.cell), pack, seed=5, soc_frac=0.6, temperature_degc=25.0,
        ambient_degc=25.0,
    )  # fmt: skip
    plant.init()
    ends = [*(at for at, *_ in PLAN[1:]), seconds]
    for (start, coils, mode, amperes), end in zip(PLAN, ends, strict=True):
        plant.fields["coil_command"][0] = coils
        plant.fields["load_mode"][0], plant.fields["load_current_a"][0] = mode, amperes
        plant.step(round(1000 * end) - round(1000 * start))
    return plant.fields


def columns() -> np.ndarray:
    kinds = [("time", "f8"), ("main_plus", "?"), ("main_minus", "?"), ("precharge", "?"),
             ("load_mode", "i4"), ("load_current_a", "f8")]  # fmt: skip
    rows = [(t, c & 1, c >> 1 & 1, c >> 2 & 1, mode, amperes) for t, c, mode, amperes in PLAN]
    # fmpy draws lines between samples of continuous inputs: a step is two of them
    return np.array([*rows[:-1], (1.2, *rows[2][1:]), rows[-1]], np.dtype(kinds))


def test_the_unit_is_valid(unit: Path) -> None:
    from fmpy.validation import validate_fmu

    assert validate_fmu(str(unit)) == []
    described = fmpy.read_model_description(str(unit))
    assert described.fmiVersion == "3.0" and described.coSimulation is not None
    units = {v.name: v.unit for v in described.modelVariables}
    assert units["block_voltage_v"] == "V" and units["module_pressure_kpa"] == "kPa"


@pytest.mark.parametrize("step_size", [0.01, 0.1])
def test_a_simulation_gives_the_bits_of_the_plant(unit: Path, step_size: float) -> None:
    names = ["pack_voltage_v", "link_voltage_v", "pack_soc_frac", "main_plus_closed",
             "block_voltage_v", "module_pressure_kpa", "cell_core_degc"]  # fmt: skip
    result = fmpy.simulate_fmu(
        str(unit), stop_time=3.0, step_size=step_size, output_interval=step_size, input=columns(),
        start_values={"soc_start_frac": 0.6, "seed": 5}, output=names,
    )  # fmt: skip
    expected, last = by_hand(3.0), result[-1]
    assert last["time"] == pytest.approx(3.0)
    for name in ("pack_voltage_v", "link_voltage_v", "pack_soc_frac"):
        assert last[name] == expected[name][0]
    for name in ("block_voltage_v", "module_pressure_kpa", "cell_core_degc"):
        assert np.array_equal(np.atleast_1d(last[name]), expected[name][: np.size(last[name])])
    assert last["main_plus_closed"] and np.size(last["block_voltage_v"]) == 16


def test_a_saved_state_comes_back(unit: Path, tmp_path: Path) -> None:
    from fmpy.fmi3 import FMU3Slave

    described = fmpy.read_model_description(str(unit))
    refs = {v.name: v.valueReference for v in described.modelVariables}
    slave = FMU3Slave(
        guid=described.guid, unzipDirectory=fmpy.extract(str(unit), str(tmp_path)),
        modelIdentifier=described.coSimulation.modelIdentifier, instanceName="a",
    )  # fmt: skip
    slave.instantiate()
    slave.enterInitializationMode()
    slave.exitInitializationMode()
    slave.setBoolean([refs["main_plus"], refs["main_minus"]], [True, True])
    slave.setInt32([refs["load_mode"]], [1])
    slave.setFloat64([refs["load_current_a"]], [30.0])

    def run(start_s: float, steps: int) -> list[float]:
        for k in range(steps):
            slave.doStep(start_s + 0.1 * k, 0.1)
        return slave.getFloat64([refs["pack_voltage_v"], refs["pack_soc_frac"]])

    run(0.0, 10)
    state = slave.getFMUState()
    first = run(1.0, 10)
    slave.setFMUState(state)
    assert slave.getFloat64([refs["pack_voltage_v"], refs["pack_soc_frac"]]) != first
    assert run(1.0, 10) == first
    slave.terminate()
    slave.freeInstance()


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bms import fmu

    with pytest.raises(ConfigError, match="can be written"):
        (tmp_path / "file").write_text("")
        fmu.export(PACK, tmp_path / "file" / "p.fmu")
    with pytest.raises(ConfigError, match="pack"):
        fmu.export("no_such_pack", tmp_path / "p.fmu")
    monkeypatch.setitem(sys.modules, "pythonfmu3.builder", None)
    with pytest.raises(ConfigError, match=r"solid-bms\[fmi\]"):
        fmu.export(PACK, tmp_path / "p.fmu")
    assert not list(tmp_path.glob("*.fmu"))
