"""Records with truth for `bms bench accuracy`: simulated in closed loop, and measured ones.

Simulated: the car pack drives under its firmware; what the world really was is then seen through
sensors whose errors are all at their limits (two standard deviations), one sign for half of the
cells, the other for the rest. Measured: found through $BMS_DATA_DIR or beside the repository;
without them those rows are left out. Cells are fitted with the manifests of examples/fit.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bms
from bms.data import read_record
from bms.model import Cell
from bms.sim import Simulation

Floats = NDArray[np.float64]

LIMIT_SIGMAS = 2.0
WRONG_START_FRAC = 0.2
DEGREES = (55.0, 45.0, 25.0, 10.0, 0.0, -10.0, -20.0)
PANASONIC = {
    "time_s": "time_s", "voltage_v": "voltage_V", "current_a": "current_A",
    "temperature_degc": "temp_case_C", "charge_ah": "ah_Ah",
}  # fmt: skip
A123 = {
    "time_s": "time_s", "voltage_v": "voltage_V", "current_a": "current_A",
    "temperature_degc": "T_surf_C", "temperature_core_degc": "T_core_C",
    "temperature_coolant_degc": "T_inf_C",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Readings (n,) or (n, cells), and the truth to compare with; None where it is not known."""

    set: str
    name: str
    cell: Cell
    time_s: Floats
    current_a: Floats
    voltage_v: Floats
    temperature_degc: Floats
    pressure_kpa: Floats | None
    soc_frac: Floats | None
    core_degc: Floats | None
    coolant_degc: Floats | None = None
    soc0_frac: Floats | None = None  # what an estimator is told; None: from the voltage


def repository() -> Path:
    """Where examples/ and, beside it, measured data are looked for."""
    return Path(bms.__file__).resolve().parents[2]


def data_folder() -> Path | None:
    """$BMS_DATA_DIR, or shared/data beside the repository; None when neither is there."""
    named = os.environ.get("BMS_DATA_DIR")
    folder = Path(named) if named else repository().parent / "shared/data"
    return folder if folder.is_dir() else None


def shipped(name: str) -> Path:
    """A manifest of examples/fit."""
    return repository() / "examples/fit" / f"{name}.toml"


@cache
def fitted(manifest: Path) -> Cell:
    """The cell of a manifest, fitted now."""
    from bms import fit

    with tempfile.TemporaryDirectory(prefix="bms-fit-") as folder:
        result = fit.fit(manifest)
        return fit.write(result, Path(folder) / "cell.toml")


def _drive(degc: float) -> str:
    return f"drive_{degc:+.0f}C"


def simulated(degc: float, seconds: float) -> Case:
    """A drive of the car pack that starts in air and at a temperature of `degc`."""
    settings = {
        "start.temperature_degc": str(degc),
        "start.ambient_degc": str(degc),
        "phase.drive.repeat": "3",
    }
    made = Simulation("drive", pack="car_96s1p", seed=7, settings=settings)
    run = made.run(seconds, cells_every_s=1.0)
    at = run.recording.time_s("true_cell_voltage_v")
    current = np.interp(at, run.recording.time_s("true_pack_current_a"), run["true_pack_current_a"])
    errors, n = made.pack.sensors, run["true_cell_voltage_v"].shape[1]
    sign = np.where(np.arange(n) % 2 == 0, LIMIT_SIGMAS, -LIMIT_SIGMAS)
    noise = np.random.default_rng(7)
    volts = run["true_cell_voltage_v"] * (1.0 + sign * errors.cell_voltage_gain_frac)
    volts = volts + sign * errors.cell_voltage_offset_v
    volts = volts + noise.normal(0.0, errors.cell_voltage_noise_v, volts.shape)
    current = current * (1.0 + LIMIT_SIGMAS * errors.current_gain_frac)
    current = current + LIMIT_SIGMAS * errors.current_offset_a
    warm = run["true_cell_temperature_surface_degc"] + sign * errors.temperature_offset_k
    pressure = run["true_module_pressure_kpa"][:, 0] + LIMIT_SIGMAS * errors.pressure_offset_kpa
    truth = run["true_cell_soc_frac"]
    return Case(
        set="simulated",
        name=_drive(degc),
        cell=made.cell,
        time_s=at,
        current_a=current,
        voltage_v=np.ascontiguousarray(volts),
        temperature_degc=np.ascontiguousarray(warm),
        pressure_kpa=np.interp(at, run.recording.time_s("true_module_pressure_kpa"), pressure),
        soc_frac=truth,
        core_degc=run["true_cell_temperature_core_degc"],
        soc0_frac=np.clip(truth[0] - 0.5 * WRONG_START_FRAC * sign, 0.0, 1.0),
    )


def solid_state(folder: Path, only: str) -> Iterator[Case]:
    """Drives of solid_state_lab, each started 20 % too low."""
    for path in sorted((folder / "solid_state_lab").glob("us06_*.csv.gz")):
        name = path.name.split(".")[0]
        if only not in f"solid_state_lab/{name}":
            continue
        cell = fitted(shipped("solid_state_lab"))
        truth = ("true_soc_frac", "true_temperature_core_degc")
        record = read_record(path, missing="keep", extra=truth)
        soc = record.extra["true_soc_frac"]
        yield Case(
            "solid_state_lab", name, cell, record.time_s, record.current_a,
            record.voltage_v, record.temperature_degc, record.pressure_kpa, soc,
            record.extra["true_temperature_core_degc"], record.temperature_coolant_degc,
            soc0_frac=np.atleast_1d(soc[0] - WRONG_START_FRAC),
        )  # fmt: skip


def panasonic(folder: Path, only: str) -> Iterator[Case]:
    """Drive cycles from full; charge is 1 minus the tester's count over the C/20 capacity."""
    for path in sorted((folder / "panasonic18650pf").glob("*.csv.gz")):
        name = path.name.split(".")[0]
        drives = any(word in name for word in ("Cycle", "US06", "UDDS", "LA92", "HWFT", "NN"))
        if not drives or only not in f"panasonic18650pf/{name}":
            continue
        cell = fitted(shipped("panasonic18650pf"))
        record = read_record(path, PANASONIC, "charge", missing="keep")
        assert record.charge_ah is not None
        soc = 1.0 - record.charge_ah / cell.electric.capacity_ah
        yield Case(
            "panasonic18650pf", name, cell, record.time_s, record.current_a,
            record.voltage_v, record.temperature_degc, None, soc, None,
        )  # fmt: skip


def core_temperature(folder: Path, only: str) -> Iterator[Case]:
    """A cell with a thermocouple inside; thermal constants fitted to the other half of a record."""
    manifest = shipped("a123_core_temperature").read_text("utf-8")
    for path in sorted((folder / "a123_core_temperature").glob("drive_*_1s.csv")):
        heading, *lines = path.read_text("utf-8").splitlines(keepends=True)
        middle = len(lines) // 2
        with tempfile.TemporaryDirectory(prefix="bms-fit-") as place:
            halves = {"first": lines[:middle], "second": lines[middle:]}
            for name, part in halves.items():
                Path(place, f"{name}.csv").write_text(heading + "".join(part), "utf-8")
                own = manifest.replace("a123_core_temperature/drive_1_1s.csv", f"{name}.csv")
                Path(place, f"{name}.toml").write_text(own, "utf-8")
            for name, other in (("first", "second"), ("second", "first")):
                title = f"{path.name.removesuffix('_1s.csv')}_{name}_half"
                if only not in f"a123/{title}":
                    continue
                record = read_record(Path(place, f"{name}.csv"), A123, "charge", missing="keep")
                yield Case(
                    "a123", title, fitted(Path(place, f"{other}.toml")), record.time_s,
                    record.current_a, record.voltage_v, record.temperature_degc, None, None,
                    record.temperature_core_degc, record.temperature_coolant_degc,
                )  # fmt: skip


def every(seconds: float, only: str, say: Callable[[str], None]) -> Iterator[Case]:
    """Those with `only` in SET/RECORD, one after the other; `say` is told what is missing."""
    for degc in DEGREES:
        if only in f"simulated/{_drive(degc)}":
            yield simulated(degc, seconds)
    folder = data_folder()
    if folder is None:
        say("measured records are not there: set BMS_DATA_DIR to compare with them")
        return
    yield from solid_state(folder, only)
    yield from panasonic(folder, only)
    yield from core_temperature(folder, only)
