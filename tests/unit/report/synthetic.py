"""A made-up run with every signal of a report, for tests that need no simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bms.recorder import Recording, Signal, Writer

CELLS, MODULES = 32, 2
SUMMARY = {
    "scenario": "drive", "seed": 3, "simulated_s": 600.0, "wall_s": 0.25, "realtime_factor": 2400.0,
    "steps": 600_000, "uart_bytes": 12_345_678, "can_frames": 456_789, "trips": 1,
    "state_final": "error", "soc_rmse_frac": 0.0051, "soc_max_error_frac": 0.012,
    "soc_scored_ticks": 60_000, "soc_inside_interval_frac": 0.998, "soc_start_frac": 0.9,
    "soc_final_frac": 0.82, "energy_throughput_j": 3e7, "energy_residual_frac": 3e-9,
    "trace_hash": "0123456789abcdef", "truth_hash": "fedcba9876543210",
    "diagnoses": {"cell_overtemperature (trip)": 1},
}  # fmt: skip
META: dict[str, Any] = {
    "configuration": {
        "scenario": "drive", "pack": {"name": "bench_16s1p"}, "cell": {"name": "sulfide"},
        "settings": {"start.soc_frac": "0.9"},
        "plan": {"title": "A made-up drive", "description": "Nothing here was simulated."},
    },
    "seed": 3, "commit": "abc123", "configuration_hash": "0011", "versions": {"bms": "0.1.0"},
}  # fmt: skip


def curves(t: np.ndarray, bias: float = 0.0) -> dict[str, tuple[str, str, np.ndarray]]:
    """name -> (kind, rate, values over t), values (n,) or (n, count)."""
    rng = np.random.default_rng(1)
    driving = (t > 12) & (t < t[-1] * 0.93)
    current = np.where(driving, 90 * np.sin(t / 23) + 60 * np.sin(t / 7.3) + 25, 0.0)
    soc = 0.9 - np.cumsum(current) * (t[1] - t[0]) / 3600 / 231
    low = 3.2 + 0.95 * soc - current * 2.2e-4
    cells = low[:, None] + np.linspace(0, 0.018, CELLS) * (1.2 - soc)[:, None]
    pack = cells.mean(axis=1) * 96
    core = 25 + 6 * (1 - np.exp(-t / 300)) + np.abs(current) / 60
    error = 0.012 * np.exp(-t / 200) + bias
    state = np.select([t < 2, t < 4, t < 6, driving, t < t[-1] * 0.97], [0, 2, 3, 4, 6], 7)
    closed = np.select([t < 4, t < 6, t < t[-1] * 0.93], [0, 6, 3], 0)
    kpa = 300 + 60 * soc[:, None] + np.array([0.0, 9.0]) + 0.4 * (core - 25)[:, None]

    def noisy(values: np.ndarray, sigma: float) -> np.ndarray:
        return values + rng.normal(0, sigma, values.shape)

    limit = np.where(driving, 460 - 120 * (t / t[-1]), 0.0)
    pack_rate = {
        "true_soc_frac": soc, "est_soc_frac": soc + error,
        "est_soc_low_frac": soc + error - 0.02, "est_soc_high_frac": soc + error + 0.015,
        "true_pack_voltage_v": pack, "meas_pack_voltage_v": noisy(pack, 0.15),
        "true_link_voltage_v": np.where(closed > 0, pack, 2.0),
        "true_pack_current_a": current, "meas_pack_current_a": noisy(current, 0.5),
        "est_discharge_limit_a": limit, "est_charge_limit_a": 0.7 * limit,
        "meas_cell_voltage_min_v": noisy(cells.min(axis=1), 4e-4),
        "meas_cell_voltage_max_v": noisy(cells.max(axis=1), 4e-4),
        "meas_temperature_max_degc": noisy(core - 1.2, 0.08),
        "meas_temperature_min_degc": noisy(core - 2.8, 0.08), "est_core_max_degc": core + 0.3,
        "meas_module_pressure_min_kpa": noisy(kpa.min(axis=1), 0.8),
        "meas_module_pressure_max_kpa": noisy(kpa.max(axis=1), 0.8),
        "true_contactors": closed, "cmd_contactors": closed, "meas_contactors": closed,
        "cmd_state": state,
        "cmd_flags": np.where(driving, 12, 0) + np.where(t > 0.97 * t[-1], 64, 0),
    }  # fmt: skip
    cell_rate = {
        "true_cell_voltage_v": cells,
        "true_cell_temperature_core_degc": core[:, None] - np.linspace(0, 2, CELLS),
        "true_cell_temperature_surface_degc": core[:, None] - 1 - np.linspace(0, 2, CELLS),
        "true_module_pressure_kpa": kpa,
    }
    slow = {
        "true_coolant_degc": 20 + 0.3 * (core - 25), "cmd_pump_frac": np.clip(t / 400, 0, 1),
        "cmd_heater_frac": np.zeros(t.size), "est_soh_frac": np.full(t.size, 0.98),
        "true_insulation_kohm": np.where(t > 0.6 * t[-1], 900.0, 5000.0),
        "meas_insulation_kohm": np.where(t > 0.61 * t[-1], 905.0, 4990.0),
    }  # fmt: skip
    kinds = {"true": "truth", "meas": "measured", "est": "estimated", "cmd": "command"}
    found = {}
    for rate, group in (("pack", pack_rate), ("cells", cell_rate), ("slow", slow)):
        for name, values in group.items():
            found[name] = (kinds[name.split("_")[0]], rate, values)
    return found


def record(
    path: Path,
    *,
    seconds: float = 60.0,
    only: tuple[str, ...] = (),
    bias: float = 0.0,
    meta: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
) -> Recording:
    """Write a made-up run; `only` leaves out all other signals."""
    t = np.arange(1, round(seconds * 100) + 1) * 0.01
    table = {k: v for k, v in curves(t, bias).items() if not only or k in only}
    integers = ("contactors", "state", "flags")
    live, signals = {}, []
    for name, (kind, rate, values) in table.items():
        whole = name.endswith(integers)
        live[name] = np.zeros(values.shape[1:] or (1,), np.uint32 if whole else np.float64)
        signals.append(Signal(name, "", kind, rate, "", live[name]))
    with Writer(path, signals, META if meta is None else meta) as writer:
        writer.event(10_000_000, "phase", "wake", text="standby, rest")
        for k in range(t.size):
            for name, (_, _, values) in table.items():
                live[name][:] = values[k]
            if writer.low_level.tick(round(t[k] * 1e6)):
                writer.drain()
        end_ns = round(t[-1] * 1e9)
        writer.event(round(0.07 * end_ns), "contactor", "main_plus closed", -1, 0.1, "at 0.1 A")
        writer.event(round(0.2 * end_ns), "state", "normal_drive", -1, 4.0, "precharge to it")
        writer.event(
            round(0.97 * end_ns), "diagnosis", "cell_overtemperature", 7, 61.5, "trip raised"
        )
        writer.close(SUMMARY if summary is None else summary)
    return Recording.open(path)
