"""Instruments of a lab rig: one file each, found by its name.

    [options.role.supply]
    adapter = "scpi_supply"              # hil/adapters/scpi_supply.py
    resource = "TCPIP::10.0.0.5::INSTR"  # the rest is that adapter's `Options`

A module says `ROLE`, what it plays (one of ROLES), `CAPABILITIES` (what tests may ask for by name),
`Options` (a msgspec struct) and `open(options)`. What is opened has `off()` (everything safe:
outputs off, lines low; may be called at any time and twice), `identity()`, `close()` and the
methods of its role below. Values are in V, A and degC; limits are not an adapter's business:
nothing reaches one that bms_hil.bench has not checked.

No adapter here has ever driven real hardware: each states where its commands are from.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from bms import config
from bms.errors import ConfigError

ROLES = ("cells", "supply", "load", "lines", "charger", "chamber")


class Adapter(Protocol):
    """What every instrument can."""

    def off(self) -> None:
        """Outputs off, lines low. LinkError when it cannot be told."""

    def identity(self) -> str:
        """What it says it is."""

    def close(self) -> None:
        """Ends the connection; `off` was called before."""


class Cells(Adapter, Protocol):
    """A cell simulator: `count` cells counted from 0, the most negative first."""

    count: int

    def set_current(self, limit_a: float) -> None:
        """What each cell sources and sinks at most."""

    def set_voltage(self, cell: int, voltage_v: float) -> None:
        """The voltage of one cell."""

    def voltage(self, cell: int) -> float:
        """Read back at its terminals."""

    def enable(self, is_on: bool) -> None:
        """All outputs."""

    def fault(self, cell: int, kind: str) -> None:
        """none, open, short: of the connection of one cell."""


class Source(Adapter, Protocol):
    """A supply or an electronic load."""

    def set(self, voltage_v: float, current_a: float) -> None:
        """Voltage and limit of current of a supply; the current a load draws (voltage ignored)."""

    def measured(self) -> tuple[float, float]:
        """Voltage and current at its terminals."""

    def enable(self, is_on: bool) -> None:
        """Its output or input."""


class Charger(Source, Protocol):
    """What charges the pack: a voltage that is never passed, and the current up to it."""

    def told(self) -> tuple[float, float]:
        """Voltage and current it was set to, as it says them."""


class Chamber(Adapter, Protocol):
    """A climate chamber."""

    def set(self, temperature_degc: float) -> None:
        """Set point."""

    def told(self) -> float:
        """Set point as it says it, in degC."""

    def measured(self) -> float:
        """Its air, in degC."""

    def enable(self, is_on: bool) -> None:
        """Whether it holds its set point."""


class Lines(Adapter, Protocol):
    """Digital outputs by name, such as interlock and crash."""

    names: tuple[str, ...]

    def write(self, name: str, level: bool) -> None:
        """Sets a line."""

    def read(self, name: str) -> bool:
        """Reads it back."""


def names() -> list[str]:
    """Every adapter there is."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem[0] != "_")


def find(name: str, where: object, role: str) -> ModuleType:
    """The module of an adapter. ConfigError when there is none for this role."""
    if name not in names():
        expected = f"one of {', '.join(names())} (a file in hil/adapters)"
        raise ConfigError(where, f"options.role.{role}.adapter", name, expected)
    module = import_module(f"bms_hil.adapters.{name}")
    if role != module.ROLE:
        expected = f"an adapter for {role}; this one is for {module.ROLE}"
        raise ConfigError(where, f"options.role.{role}.adapter", name, expected)
    return module


def opened(given: dict[str, Any], where: Any, role: str) -> tuple[ModuleType, Any]:
    """Module and opened instrument of one role's table."""
    module = find(str(given.get("adapter")), where, role)
    rest = {k: v for k, v in given.items() if k != "adapter"}
    return module, module.open(config.convert(rest, module.Options, where))
