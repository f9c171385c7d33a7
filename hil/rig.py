"""A rig: a pack, something that manages it, and hands to work with both.

The ports are those of ASAM XIL: the model port (`set`, `load`), the network port (`request`,
`send`), the diagnostic port (`clear`) and the electrical-error port (`inject`, `withdraw`). A rig
file describes roles and not hosts:

    kind = "sil"            # which adapter: a module of this package
    pack = "bench_16s1p"    # library name or path, relative to the file

`load(NAME_OR_FILE)` reads one and refuses what cannot be; `open_rig` starts it. What a rig can do
stands in `capabilities`; a test that needs more is skipped with the name of what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec
from bms_hil.diagnostic import Diagnostic
from bms_hil.traces import Recording
from bms_hil.verdicts import Log

from bms import config
from bms.errors import BmsError, ConfigError

FOLDER = Path(__file__).parent / "rigs"
REQUEST = {"standby": "standby", "normal": "drive", "charge": "charge"}
"""States that every rig can be brought to, and what the vehicle asks for to get there."""
REACHED = {"standby": "standby", "normal": "normal_drive", "charge": "normal_charge"}
"""What the BMS then says."""
WITHIN_S = 15.0  # self-test, close and precharge take about five
SETTLE_S = 1.0  # after the state was reached; where time is free, LONG_SETTLE_S
LONG_SETTLE_S = 15.0  # insulation measured, cells tested, filters settled
ABOUT = ("commit", "configuration_hash", "firmware_config_hash")
"""What a recording says of the run that a report repeats."""
CHARGE_C = 0.2  # current in the state "charge", of the rated capacity


class RigMissing(BmsError):
    """What the rig is made of is not installed; the message says how to get it."""


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the pack is when a test begins."""

    soc_frac: float = 0.6
    temperature_degc: float = 25.0


class RigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rig file. options: what only this kind of rig knows, checked by its adapter."""

    kind: str
    title: str
    pack: str
    cell: str | None = None
    dut: str = "ours"
    seed: int = 1
    start: Start = Start()
    options: dict[str, Any] = {}
    file: str = ""


@dataclass(frozen=True)
class Injection:
    """A fault that was injected. at_s: when it begins, in seconds of the recording. budget_ms: what
    the catalogue allows the BMS from there to its decision."""

    handle: int
    id: str
    at_s: float
    budget_ms: float
    diagnoses: tuple[str, ...]


class Rig(Protocol):
    """What a test works with. Times are seconds since `bring_to`."""

    name: str
    file: RigFile
    capabilities: frozenset[str]
    log: Log

    @property
    def pack(self) -> Any:
        """bms.model.Pack."""

    @property
    def cell(self) -> Any:
        """bms.model.Cell."""

    @property
    def now_s(self) -> float:
        """Seconds since the state was reached."""

    def begin(self, log: Log) -> None:
        """A new test: nothing of the one before is left."""

    def bring_to(
        self, state: str, *, soc_frac: float | None = None, temperature_degc: float | None = None
    ) -> None:
        """Into one of REQUEST, from a fresh start; recording begins there."""

    def request(self, what: str) -> None:
        """What the vehicle asks for: standby, drive or charge."""

    def clear(self) -> None:
        """Asks the BMS to clear what is latched."""

    def load(
        self,
        *,
        current_a: float | None = None,
        power_w: float | None = None,
        obeys_limits: bool = True,
    ) -> None:
        """Current or power from now on, positive discharges."""

    def wait(self, seconds: float) -> None:
        """Lets time pass."""

    def set(self, field: str, value: float, index: int = 0) -> None:
        """Writes a field of the world ("plant.cell_short_siemens")."""

    def inject(
        self,
        fault: str,
        *,
        index: int = 0,
        value: float | None = None,
        after_s: float = 0.0,
        ramp_s: float | None = None,
        for_s: float | None = None,
    ) -> Injection:
        """A fault of the catalogue (`bms faults`)."""

    def withdraw(self, injection: Injection) -> None:
        """Ends a fault."""

    @property
    def diagnostic(self) -> Diagnostic:
        """A workshop's tester on the bus of the BMS; where "diagnostics" is a capability."""

    @property
    def recording(self) -> Recording:
        """What was recorded since `bring_to`."""

    def keep(self, path: Path) -> Path | bool:
        """Writes what was recorded as a file that `bms gui` and `bms report` open, or what the rig
        has, at the path it gives back; False if it cannot."""

    def identity(self) -> dict[str, str]:
        """What makes a result reproducible: device, versions, configuration hash, seed."""

    def grade(self) -> dict[str, float]:
        """What the rig found out about itself: latency, jitter, clock skew, stimulus error."""

    def missed(self) -> str:
        """Why nothing that was measured since `begin` counts: the rig itself did not keep real
        time. Empty when it did."""

    def close(self) -> None:
        """Ends everything it started."""


def load(name: str) -> RigFile:
    """A rig by its name in the library or by path. ConfigError for what cannot be."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.exists() and not name.endswith(".toml"):
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise ConfigError("--rig", "", name, f"one of {known}, or the path of a TOML file")
    found = config.convert(config.load_toml(path), RigFile, path)
    if not (Path(__file__).parent / f"{found.kind}.py").is_file() or found.kind not in kinds():
        raise ConfigError(path, "kind", found.kind, f"one of {', '.join(kinds())}")
    for key in ("pack", "cell", "dut"):
        value = getattr(found, key)
        if value and "/" in value and not Path(value).is_absolute():
            found = msgspec.structs.replace(found, **{key: str(path.parent / value)})
    return msgspec.structs.replace(found, file=str(path))


def kinds() -> list[str]:
    """Adapters: modules of this package that say `KIND = True`."""
    here = Path(__file__).parent.glob("*.py")
    return sorted(p.stem for p in here if "\nKIND = True\n" in p.read_text("utf-8"))


def open_rig(file: RigFile) -> Rig:
    """Starts a rig."""
    made: Rig = import_module(f"bms_hil.{file.kind}").open_rig(file)
    return made
