"""The instruments of a lab bench, behind its limits.

Nothing reaches an adapter that was not checked against the rig file's limits first; what was set is
read back. `off` makes everything safe and can be called at any time: it is at the start, after each
test, at the end, on an exception, on Ctrl-C and SIGTERM, and when nobody has used the bench for
`idle_s`. A bench is no safety device: a host that dies leaves outputs as they were, so instruments
need limits, and a bench a cut-off, of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import threading
import time
from typing import Any

import msgspec
from bms_hil import adapters
from bms_hil.verdicts import NotMeasurable

from bms.errors import BmsError, ConfigError

LINES = {"interlock": True, "ignition": True, "crash": False}
"""Lines by name, and their level when nothing is wrong."""
OFF_ORDER = ("load", "charger", "supply", "cells", "chamber", "lines")
SETTLE_S, TRIES = 0.05, 20  # a read-back is tried this often
OFF_TRIES = 2


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be asked of the instruments, in V, A and degC; no default lets anything through.
    *_error_*: how far a read-back may be from what was set. chamber_within_s: how long its air may
    take, chamber_soak_s: how long the cells are left in it then. idle_s: everything goes off when
    the bench was not used for so long."""

    cell_voltage_v: tuple[float, float] = (0.0, 0.0)
    cell_current_a: float = 0.0
    cell_error_v: float = 0.01
    supply_voltage_v: float = 0.0
    supply_current_a: float = 0.0
    supply_error_v: float = 0.2
    load_current_a: float = 0.0
    load_error_a: float = 0.5
    charger_voltage_v: float = 0.0
    charger_current_a: float = 0.0
    charger_error_a: float = 0.05
    chamber_degc: tuple[float, float] = (0.0, 0.0)
    chamber_error_k: float = 1.0
    chamber_within_s: float = 7200.0
    chamber_soak_s: float = 3600.0
    idle_s: float = 120.0


class Beyond(NotMeasurable):
    """A test asks for more than the bench may do: it is skipped by this name."""


class Bench:
    """Instruments by role. ConfigError, LinkError."""

    def __init__(self, roles: dict[str, dict[str, Any]], limits: Limits, where: Any) -> None:
        self.limits, self._where = limits, where
        self.found: dict[str, Any] = {}
        self.capabilities: frozenset[str] = frozenset()
        self._lock, self._used_s, self._is_on = threading.RLock(), time.monotonic(), True
        self._set_v: dict[int, float] = {}
        self.went_off, self._soaked_degc = "", math.nan
        for role in roles:
            if role not in adapters.ROLES:
                raise ConfigError(
                    where, "options.role", role, f"one of {', '.join(adapters.ROLES)}"
                )
            self._needs_limits(role)
        try:
            for role, given in roles.items():
                module, self.found[role] = adapters.opened(given, where, role)
                self.capabilities |= module.CAPABILITIES
            self.off()
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)

    def _needs_limits(self, role: str) -> None:
        keys = {"cells": ("cell_voltage_v", "cell_current_a"), "load": ("load_current_a",),
                "supply": ("supply_voltage_v", "supply_current_a"), "chamber": ("chamber_degc",),
                "charger": ("charger_voltage_v", "charger_current_a")}  # fmt: skip
        for key in keys.get(role, ()):
            value = getattr(self.limits, key)
            if (value[1] - value[0] if isinstance(value, tuple) else value) <= 0.0:
                raise ConfigError(
                    self._where, f"options.limits.{key}", value, f"a limit: there is a role {role}"
                )

    # ---- safety ----

    def off(self) -> None:
        """Everything safe; every instrument is tried, the first failure is told."""
        failures = []
        with self._lock:
            for role in (r for r in OFF_ORDER if r in self.found):
                instrument = self.found[role]
                for attempt in range(OFF_TRIES):
                    try:
                        instrument.off()
                        break
                    except BmsError as error:
                        if attempt == OFF_TRIES - 1:
                            failures.append(f"{role}: {error}")
            self._is_on, self._set_v = False, {}
        if failures:
            raise BmsError(f"COULD NOT BE SWITCHED OFF: {'; '.join(failures)}: cut the power")

    def close(self) -> None:
        """Off, and the connections ended. May be called twice."""
        atexit.unregister(self.close)
        try:
            if self.found:
                self.off()
        finally:
            for instrument in self.found.values():
                with contextlib.suppress(Exception):
                    instrument.close()
            self.found = {}

    def look(self) -> None:
        """From a thread, now and then: off when nobody uses the bench any more."""
        idle_s = time.monotonic() - self._used_s
        if self._is_on and idle_s > self.limits.idle_s:
            self.went_off = f"the bench was not used for {idle_s:.0f} s and went off"
            self.off()

    def use(self) -> None:
        """Somebody is there. BmsError when everything went off meanwhile."""
        self._used_s = time.monotonic()
        if self.went_off:
            raise BmsError(self.went_off)

    def _role(self, role: str) -> Any:
        self.use()
        if role not in self.found:
            raise Beyond(f"the bench has no {role}")
        return self.found[role]

    @staticmethod
    def _within(what: str, value: float, low: float, high: float, unit: str) -> None:
        if not low <= value <= high:  # NaN as well
            raise Beyond(f"{what}: {value:g} {unit} is outside the limits of the rig file, "
                         f"{low:g} to {high:g} {unit}")  # fmt: skip

    def _read_back(self, what: str, read: Any, wanted: float, error: float, unit: str) -> float:
        """Until it is there, a second at most. BmsError and everything off when it is not."""
        for _ in range(TRIES):
            found = float(read())
            if abs(found - wanted) <= error:
                return found
            time.sleep(SETTLE_S)
        self.off()
        raise BmsError(
            f"{what}: set to {wanted:g} {unit}, read back {found:g} {unit}, {error:g} {unit} "
            "allowed: everything is off; look at wiring, current limit and range"
        )

    # ---- cells ----

    def cell(self, index: int) -> float:
        """What a cell is set to."""
        return self._set_v.get(index, 0.0)

    def set_cells(self, voltages: dict[int, float], *, check: bool = True) -> None:
        """Voltages of some cells; with `check` each is read back."""
        cells = self._role("cells")
        for index, voltage_v in voltages.items():
            self._within(f"cell {index}", voltage_v, *self.limits.cell_voltage_v, "V")
            if not 0 <= index < cells.count:
                raise Beyond(f"the bench has cells 0 to {cells.count - 1}, not {index}")
        with self._lock:
            for index, voltage_v in voltages.items():
                cells.set_voltage(index, voltage_v)
                self._set_v[index] = voltage_v
        for index, voltage_v in voltages.items() if check else ():
            self._read_back(f"cell {index}", lambda k=index: cells.voltage(k), voltage_v,
                            self.limits.cell_error_v, "V")  # fmt: skip

    def enable_cells(self) -> None:
        """Outputs on, with the limit of current. The voltages were set before."""
        cells = self._role("cells")
        with self._lock:
            cells.set_current(self.limits.cell_current_a)
            self._is_on = True
            cells.enable(True)

    def break_cell(self, index: int, kind: str) -> None:
        """none, open, short."""
        if f"cell_{kind}" not in self.capabilities and kind != "none":
            raise Beyond(f"the bench cannot make a cell {kind}")
        self._role("cells").fault(index, kind)

    # ---- supply, load, charger, chamber, lines ----

    def supply(self, voltage_v: float) -> None:
        """The supply of the control unit; 0 switches it off."""
        supply = self._role("supply")
        self._within("supply", voltage_v, 0.0, self.limits.supply_voltage_v, "V")
        with self._lock:
            supply.set(voltage_v, self.limits.supply_current_a)
            self._is_on = self._is_on or voltage_v > 0.0
            supply.enable(voltage_v > 0.0)
        self._read_back("supply", lambda: supply.measured()[0], voltage_v,
                        self.limits.supply_error_v, "V")  # fmt: skip

    def load(self, current_a: float) -> None:
        """What the load draws; positive discharges."""
        if current_a == 0.0 and "load" not in self.found:
            return
        load = self._role("load")
        self._within("load", current_a, 0.0, self.limits.load_current_a, "A")
        with self._lock:
            load.set(0.0, current_a)
            self._is_on = self._is_on or current_a > 0.0
            load.enable(current_a > 0.0)

    def load_reads(self, current_a: float) -> None:
        """Checks what flows; only while the contactors are closed."""
        load = self._role("load")
        self._read_back("load", lambda: load.measured()[1], current_a,
                        self.limits.load_error_a, "A")  # fmt: skip

    def charge(self, current_a: float, voltage_v: float = 0.0) -> None:
        """What the charger gives, up to a voltage; 0 switches it off."""
        if current_a == 0.0 and "charger" not in self.found:
            return
        charger, is_on = self._role("charger"), current_a > 0.0
        self._within("charger", current_a, 0.0, self.limits.charger_current_a, "A")
        self._within("charger", voltage_v, 0.0, self.limits.charger_voltage_v, "V")
        with self._lock:
            charger.set(voltage_v, current_a)
            self._is_on = self._is_on or is_on
            self._read_back("charger", lambda: charger.told()[1], current_a,
                            self.limits.charger_error_a, "A")  # fmt: skip
            charger.enable(is_on)

    def temperature(self, wanted_degc: float) -> None:
        """The chamber at a temperature, its air there, the cells soaked."""
        chamber, limits = self._role("chamber"), self.limits
        self._within("chamber", wanted_degc, *limits.chamber_degc, "degC")
        with self._lock:
            chamber.set(wanted_degc)
            self._is_on = True
            self._read_back("chamber", chamber.told, wanted_degc, 0.1, "degC")
            chamber.enable(True)
        end_s = time.monotonic() + limits.chamber_within_s
        while abs(away_k := chamber.measured() - wanted_degc) > limits.chamber_error_k:
            if time.monotonic() > end_s:
                self.off()
                raise BmsError(
                    f"chamber: set to {wanted_degc:g} degC, still {away_k:+.1f} K away after "
                    f"{limits.chamber_within_s:g} s: everything is off; look at its door and load"
                )
            self._pass(1.0)
        if wanted_degc != self._soaked_degc:  # between tests they lose nothing
            self._pass(limits.chamber_soak_s)
        self._soaked_degc = wanted_degc

    def _pass(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0.0:
            self.use()
            time.sleep(min(left_s, 1.0))

    def line(self, name: str, level: bool) -> None:
        """A digital output."""
        lines = self._role("lines")
        if name not in lines.names:
            raise Beyond(f"the bench has no line {name}")
        with self._lock:
            self._is_on = True
            lines.write(name, level)
        self._read_back(name, lambda: float(lines.read(name)), float(level), 0.0, "")

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines that are there."""
        return self.found["lines"].names if "lines" in self.found else ()
