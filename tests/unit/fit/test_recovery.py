"""A known cell is found again, within the intervals that the fit states."""

from __future__ import annotations

from pathlib import Path

import made
import numpy as np
import pytest

from bms import cells
from bms.fit import cellfile, circuit, run

KNOWN = made.Known()


@pytest.fixture(scope="module")
def result(records: Path) -> run.Result:
    files = [made.file("slow.csv", "slow", 25)]
    files += [made.file(f"hppc_{t}.csv", "hppc", t) for t in (25, 5, 45)]
    path = made.manifest(records, files, ("electric", "temperature", "hysteresis"))
    return run.fit(path)


def test_every_resistance_law_and_time_lies_in_its_interval(result: run.Result) -> None:
    series = result.series
    assert series is not None
    found = {
        "ohmic": (
            series.ohm[:2].sum(),
            series.half["electrolyte_ohm"] + series.half["contact_ohm"],
        ),
        "transfer": (series.ohm[2], series.half["transfer_ohm"]),
        "diffusion": (series.ohm[3], series.half["diffusion_ohm"]),
        "tau1": (series.tau_s[0], series.half["charge_transfer_tau_s"]),
        "tau2": (series.tau_s[1], series.half["diffusion_tau_s"]),
        "ea0": (series.activation_ev[0], series.half["electrolyte_activation_ev"]),
        "ea1": (series.activation_ev[2], series.half["transfer_activation_ev"]),
        "ea2": (series.activation_ev[3], series.half["diffusion_activation_ev"]),
    }
    truth = [*KNOWN.ohm, *KNOWN.tau_s, *KNOWN.activation_ev]
    for (name, (value, half)), true in zip(found.items(), truth, strict=True):
        assert abs(value - true) < max(2.0 * half, 0.002 * true), (name, value, half, true)
        assert half < 0.2 * true, (name, half)


def test_capacity_curve_and_hysteresis_are_found(result: run.Result) -> None:
    size, curve = result.capacity, result.curve
    assert size is not None and curve is not None
    assert size.closes
    assert abs(size.capacity_ah - KNOWN.capacity_ah) < max(size.half_ah, 0.005)
    assert abs(curve.hysteresis_v - KNOWN.hysteresis_v) < 2 * curve.hysteresis_half_v + 2e-4
    base = result.base.electric
    true_v = np.interp(run.ocv.GRID, base.ocv_soc_frac, base.ocv_v)
    inner = (run.ocv.GRID > 0.05) & (run.ocv.GRID < 0.99)
    assert np.max(np.abs(curve.volts - true_v)[inner]) < 0.004


def test_the_file_loads_and_says_where_every_value_is_from(
    result: run.Result, tmp_path: Path
) -> None:
    cell = cellfile.write(result, tmp_path / "cell.toml")
    again = cells.load(tmp_path / "cell.toml")
    assert again == cell and cell.name == "made"
    assert "95 % interval" in cell.provenance["resistance.diffusion_ohm"]
    assert "95 % half-width" in cell.provenance["electric.ocv_v"]
    assert "Kept from panasonic_18650pf" in cell.provenance["runaway.first.heat_j"]
    assert "Kept" in cell.provenance["thermal.heat_capacity_j_per_kg_k"]
    assert "Kept" not in cell.provenance["electric.capacity_ah"]
    assert again.electric.capacity_ah == pytest.approx(KNOWN.capacity_ah, rel=0.005)


def test_a_held_out_drive_is_predicted_and_never_fitted(
    result: run.Result, records: Path, seed: int
) -> None:
    gen = np.random.default_rng(seed)
    steps = [(float(a), 20.0) for a in gen.uniform(-2, 6, 150)]
    columns = made.record(KNOWN, steps, 15.0, 1.0, seed)
    made.write_csv(records / "drive.csv", columns)
    files = [made.file("slow.csv", "slow", 25), made.file("drive.csv", "drive", 15)]
    files += [made.file(f"hppc_{t}.csv", "hppc", t) for t in (25, 5, 45)]
    path = made.manifest(records, files, ("electric", "temperature", "hysteresis"))
    again = run.fit(path)
    assert again.series is not None and result.series is not None
    assert np.array_equal(again.series.ohm, result.series.ohm)
    drive = next(s for s in again.scores if s.is_judged)
    assert drive.rmse_mv < 4.0


def test_without_a_slow_cycle_pulses_from_full_to_empty_give_the_curve(records: Path) -> None:
    long = [*made.pulses(9), (1.0, 2400.0), (0.5, 3000.0), (0.0, 1200.0)]
    columns = made.record(KNOWN, long, 25.0, 1.0, seed=5)
    made.write_csv(records / "long.csv", columns)
    path = made.manifest(records, [made.file("long.csv", "hppc", 25)], ("electric",))
    out = run.fit(path)
    assert out.series is not None and out.capacity is not None
    assert out.series.ohm[:2].sum() == pytest.approx(KNOWN.ohm[0], rel=0.05)
    assert out.capacity.number == 0


def test_recursions_agree_with_a_plain_loop(seed: int) -> None:
    gen = np.random.default_rng(seed)
    count = 300
    trace = circuit.Trace(
        number=0, name="", ambient_degc=25.0,
        time_s=np.cumsum(gen.uniform(0.1, 30.0, count)), current_a=gen.normal(0, 5, count),
        mean_a=gen.normal(0, 5, count), voltage_v=np.zeros(count),
        temperature_degc=gen.uniform(-20, 60, count), pressure_kpa=None,
        soc_frac=np.clip(np.cumsum(gen.normal(0, 0.01, count)) + 0.5, 0, 1),
        relaxed=np.arange(count) % 97 == 0, hysteresis_start=0.3, step_ohm=0.01,
        soc_is_counted=True,
    )  # fmt: skip
    u, h, us, hs = 0.0, 0.3, [], []
    for k in range(count):
        dt = trace.time_s[k] - trace.time_s[k - 1] if k else 0.0
        f = np.exp(0.4 / made.BOLTZMANN * (1 / (trace.temperature_degc[k] + 273.15) - 1 / 298.15))
        keep = np.exp(-dt / (25.0 * f))
        u = 0.0 if trace.relaxed[k] else keep * u + (1 - keep) * f * trace.mean_a[k]
        dz = trace.soc_frac[k - 1] - trace.soc_frac[k] if k else 0.0
        e = np.exp(-abs(dz) / 0.03)
        h = e * h + (1 - e) * np.sign(dz)
        us.append(u)
        hs.append(h)
    np.testing.assert_allclose(circuit.polarisation(trace, 25.0, 0.4), us, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(circuit.hysteresis(trace, 0.03), hs, rtol=1e-9, atol=1e-12)


def test_hat_functions_interpolate() -> None:
    grid = np.array([0.0, 0.1, 0.4, 1.0])
    values = np.array([3.0, 3.5, 3.6, 4.2])
    x = np.linspace(0.0, 1.0, 57)
    np.testing.assert_allclose(circuit.hats(grid, x) @ values, np.interp(x, grid, values))
