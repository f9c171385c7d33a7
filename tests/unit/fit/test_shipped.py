"""The shipped manifests, on the measured data beside the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from bms import cells
from bms.fit import cellfile, run

# Voltage RMSE in mV above SoC 0.1 that held-out records must not exceed: a quarter above what the
# model reaches. One circuit for all of charge cannot do much better in the cold.
LIMITS_MV = {
    "panasonic18650pf": {"n25C_US06": 40, "n25C_Cycle_1": 35, "n0C_UDDS": 45, "m10C_Cycle_1": 79},
    "solid_state_lab": {"us06_+25C": 5, "us06_+45C": 7, "us06_+0C": 37},
    "leaf_pouch": {"discharge-bitrode-1c": 20, "discharge-bitrode-2c": 26},
    "a123_core_temperature": {},
}


@pytest.fixture(autouse=True)
def data(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMS_DATA_DIR", str(data_dir))


@pytest.mark.slow(reason="fits of nine records or more")
@pytest.mark.parametrize("name", sorted(LIMITS_MV))
def test_a_shipped_manifest_fits_and_predicts(project_dir: Path, tmp_path: Path, name: str) -> None:
    result = run.fit(project_dir / "examples" / "fit" / f"{name}.toml")
    cell = cellfile.write(result, tmp_path / "cell.toml")
    assert cells.load(tmp_path / "cell.toml") == cell
    held_out = [s for s in result.scores if s.is_judged]
    for part, limit_mv in LIMITS_MV[name].items():
        (score,) = [s for s in held_out if part in s.trace.name]
        assert score.rmse_used_mv < limit_mv, (score.trace.name, score.rmse_used_mv)
    if name == "a123_core_temperature":
        assert result.heat is not None
        assert result.heat_scores[0].law_rmse_k < 0.13
        assert 0.55 < result.heat.outside_w_per_k / result.heat.core_surface_w_per_k < 0.7
        assert "Kept from a123_26650" in cell.provenance["electric.ocv_v"]


def test_every_shipped_manifest_is_tried(project_dir: Path) -> None:
    shipped = {p.stem for p in (project_dir / "examples" / "fit").glob("*.toml")}
    assert shipped == set(LIMITS_MV)
