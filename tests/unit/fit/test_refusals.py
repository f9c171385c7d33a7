"""What the data cannot tell is refused by the name of the measurement that is missing."""

from __future__ import annotations

from pathlib import Path

import made
import numpy as np
import pytest

from bms.cli import main
from bms.errors import ConfigError
from bms.fit import run

SLOW = made.file("slow.csv", "slow", 25)
HPPC = {t: made.file(f"hppc_{t}.csv", "hppc", t) for t in (25, 5, 45)}


@pytest.mark.parametrize(
    ("files", "fit", "words"),
    [
        ([SLOW, HPPC[25]], ["electric", "temperature"], "HPPC at a second temperature"),
        ([SLOW], ["electric"], "pulses (role `hppc`) at 25 degC"),
        ([SLOW, HPPC[5]], ["electric"], "pulses (role `hppc`) at 25 degC"),
        ([HPPC[25]], ["electric"], "a discharge from full to empty at 25 degC"),
        ([HPPC[25], HPPC[5]], ["electric", "hysteresis"], "a slow cycle with discharge and charge"),
        ([SLOW, HPPC[25]], ["electric", "entropic"], "a second temperature"),
        ([SLOW, HPPC[25], HPPC[5]], ["electric", "contact"], "HPPC at 4 temperatures over 40 K"),
        ([SLOW, HPPC[25]], ["heat_capacity"], "a drive with temperatures, role `thermal`"),
        ([made.file("hppc_25.csv", "thermal", 25)], ["core"], "warms the surface"),
    ],
)
def test_the_missing_measurement_is_named(
    records: Path, files: list[str], fit: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run.fit(made.manifest(records, files, fit))
    assert words in str(caught.value) and caught.value.exit_code == 2


def test_core_needs_a_core_temperature(records: Path) -> None:
    columns = made.record(made.Known(), made.pulses(1), 25.0, 1.0, seed=3)
    del columns["temperature_core_degc"]
    made.write_csv(records / "surface.csv", columns)
    with pytest.raises(ConfigError, match="temperature_core_degc"):
        run.fit(made.manifest(records, [made.file("surface.csv", "thermal", 25)], ["core"]))


def test_hysteresis_needs_a_cycle_that_closes(records: Path) -> None:
    steps = [(0.0, 600.0), (0.155, 71950.0), (0.0, 3600.0), (-0.155, 50000.0), (0.0, 3600.0)]
    columns = made.record(made.Known(), steps, 25.0, 50.0, seed=4)
    made.write_csv(records / "open.csv", columns)
    files = [made.file("open.csv", "slow", 25), HPPC[25]]
    with pytest.raises(ConfigError, match="puts back within 3 %"):
        run.fit(made.manifest(records, files, ["electric", "hysteresis"]))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("soc_window_v = [4.2, 3.0]", "soc_window_v"),
        ("speed = 3", "speed"),
        ("[facts.electric]\ncapacity_ah = 3.0", "facts"),
        ('[facts.electric]\ncapacity = { value = 3.0, source = "x" }', "facts.electric.capacity"),
        ('[columns]\nvolts = "U"', "volts"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(records: Path, more: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run.fit(made.manifest(records, [SLOW, HPPC[25]], ["electric"], more))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "file", [made.file("nowhere.csv", "slow", 25), made.file("slow.csv", "nap", 25),
             made.file("slow.csv", "slow", 900)]
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused(records: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="files"):
        run.fit(made.manifest(records, [file, HPPC[25]], ["electric"]))


def test_the_command_writes_cell_and_report_and_refuses_without_a_traceback(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made.manifest(records, [SLOW, HPPC[25], HPPC[5]], ["electric", "temperature"])
    out, page = tmp_path / "cell.toml", tmp_path / "report.html"
    assert main(["fit", str(path), "--out", str(out), "--report", str(page)]) == 0
    text = page.read_text()
    assert text.count("<svg") >= 5 and "resistance.diffusion_ohm" in text
    assert "src=" not in text and "@import" not in text
    assert "voltage RMSE" in capsys.readouterr().out
    path = made.manifest(records, [SLOW, HPPC[25]], ["electric", "temperature"])
    assert main(["fit", str(path), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "second temperature" in told and "Traceback" not in told


def test_a_wrong_sign_in_the_manifest_is_refused(records: Path) -> None:
    more = 'current_sign = "charge"'
    with pytest.raises(ConfigError, match="in this file positive current means discharge"):
        run.fit(made.manifest(records, [HPPC[25], SLOW], ["electric"], more))


def test_a_drive_that_is_not_there_is_told_and_does_not_stop_the_fit(records: Path) -> None:
    files = [SLOW, HPPC[25], made.file("gone.csv", "drive", 25)]
    result = run.fit(made.manifest(records, files, ["electric"]))
    assert result.absent == ("gone.csv",) and all(not s.is_judged for s in result.scores)


def test_heat_constants_are_found_again(tmp_path: Path, seed: int) -> None:
    gen = np.random.default_rng(seed)
    steps = [(float(a), 40.0) for a in gen.uniform(-8, 8, 150)]
    columns = made.record(made.Known(capacity_ah=30.0, noise_v=0.0), steps, 25.0, 1.0, seed)
    whole_j, share, inner, outer = 45.0, 0.6, 0.6, 0.15
    core = surface = 25.0
    cores, surfaces = [], []
    known = made.Known()
    v1 = v2 = 0.0
    for amps in columns["current_a"]:
        v1 += (1 - np.exp(-1 / 8.0)) * (known.ohm[1] * amps - v1)
        v2 += (1 - np.exp(-1 / 200.0)) * (known.ohm[2] * amps - v2)
        heat_w = amps * (known.ohm[0] * amps + v1 + v2)
        cores.append(core)
        surfaces.append(surface)
        flow_w = inner * (core - surface)
        core += (heat_w - flow_w) / whole_j
        into_w = (1.0 - share) * heat_w + share * flow_w
        surface += (into_w - outer * (surface - 25.0)) / ((1.0 - share) * whole_j)
    columns["temperature_core_degc"], columns["temperature_degc"] = (
        np.array(cores),
        np.array(surfaces),
    )
    made.write_csv(tmp_path / "heat.csv", columns)
    file = made.file("heat.csv", "thermal", 25)
    out = run.fit(made.manifest(tmp_path, [file], ["heat_capacity", "core"]))
    heat = out.heat
    assert heat is not None
    law = heat.outside_w_per_k / heat.core_surface_w_per_k
    assert law == pytest.approx(outer / inner, rel=0.03)
    # The scale hangs on the heat, and that on the curve of a cell that is not the one measured.
    assert heat.whole_j_per_k == pytest.approx(whole_j, rel=0.3)
    assert heat.core_frac == pytest.approx(share, abs=0.3)
