"""What a pack says of itself on the vehicle bus, gathered for those who say it on in other words.

A face of the pack (an inverter's messages, a serial BMS) knows nothing but this: values decoded
from the frames of bms.dbc. Nothing is invented; what was not heard is None, and when the state or
the pack's voltages have not been heard for `STALE_S` the view is stale and a face falls silent, so
that whoever listens raises its own alarm.

Times are seconds of the caller's clock. Positive current discharges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bms import spec
from bms.protocols import Malformed, dbc, e2e

STALE_S = 1.0
"""The messages that must keep coming have cycles of 10 and 20 ms."""

VITAL = ("BmsState", "BmsPack", "BmsLimits", "BmsSoc")


@dataclass
class PackView:
    """The last values heard. `values` maps message -> signal -> value as dbc.decode gives them."""

    values: dict[str, dict[str, dbc.Value]] = field(default_factory=dict)
    heard_s: dict[str, float] = field(default_factory=dict)
    cell_voltage_v: dict[int, float | None] = field(default_factory=dict)
    temperature_degc: dict[int, float | None] = field(default_factory=dict)
    bled: dict[int, bool] = field(default_factory=dict)
    active: frozenset[str] = frozenset()
    """Names of the diagnoses that are active or latched."""
    malformed: int = 0
    refused: int = 0
    _receivers: dict[int, e2e.Receiver] = field(default_factory=dict)
    _pages: dict[int, int] = field(default_factory=dict)

    def hear(self, now_s: float, can_id: int, data: bytes) -> None:
        """Takes one frame of the vehicle bus. Any bytes may be given; bad ones are counted."""
        known = _known().get(can_id)
        if known is None:
            return
        name, identifier = known
        values = dbc.decode(can_id, data)
        if isinstance(values, Malformed):
            self.malformed += 1
            return
        if identifier is not None:
            receiver = self._receivers.setdefault(can_id, e2e.Receiver(identifier, max_delta=14))
            if not receiver.check(data).is_usable:
                self.refused += 1
                return
        self.heard_s[name] = now_s
        gather = _GATHER.get(name)
        if gather is None:
            self.values[name] = values
        else:
            gather(self, values)

    def is_stale(self, now_s: float) -> bool:
        """Whether a message that must keep coming has not come."""
        return any(now_s - self.heard_s.get(name, -1e9) > STALE_S for name in VITAL)

    def number(self, message: str, signal: str) -> float | None:
        """A number in its DBC unit; None if it was not heard or is not available."""
        value = self.values.get(message, {}).get(signal)
        return value if isinstance(value, int | float) else None

    def is_yes(self, message: str, signal: str) -> bool:
        """Whether a flag was heard as `yes`; unknown is no."""
        return self.values.get(message, {}).get(signal) == "yes"

    # ---- what every face needs ----

    @property
    def voltage_v(self) -> float | None:
        """Of the pack."""
        return self.number("BmsPack", "PackVoltage")

    @property
    def current_a(self) -> float | None:
        """Positive discharges."""
        return self.number("BmsPack", "PackCurrent")

    @property
    def soc_frac(self) -> float | None:
        """State of charge; None while the BMS calls it invalid."""
        percent = self.number("BmsSoc", "Soc") if self.is_yes("BmsSoc", "SocValid") else None
        return None if percent is None else percent / 100.0

    @property
    def soh_frac(self) -> float | None:
        """State of health: capacity now over rated capacity."""
        percent = self.number("BmsSoc", "Soh")
        return None if percent is None else percent / 100.0

    @property
    def charge_limit_a(self) -> float:
        """Most current into the battery; 0 unless charging is allowed and the limit is known."""
        limit = self.number("BmsLimits", "ChargeCurrentLimit")
        return limit if limit is not None and self.is_yes("BmsState", "ChargeAllowed") else 0.0

    @property
    def discharge_limit_a(self) -> float:
        """Most current out of the battery; 0 unless allowed and known."""
        limit = self.number("BmsLimits", "DischargeCurrentLimit")
        return limit if limit is not None and self.is_yes("BmsState", "DischargeAllowed") else 0.0

    @property
    def charge_voltage_limit_v(self) -> float | None:
        """Most voltage a charger may apply."""
        return self.number("BmsLimits", "ChargeVoltageLimit")

    @property
    def discharge_voltage_limit_v(self) -> float | None:
        """Voltage below which nobody may draw."""
        return self.number("BmsRatings", "DischargeVoltageLimit")

    @property
    def capacity_rated_ah(self) -> float | None:
        """Of the pack, when new."""
        return self.number("BmsRatings", "CapacityRated")

    @property
    def capacity_ah(self) -> float | None:
        """Of the pack, now."""
        return self.number("BmsRatings", "CapacityNow")

    @property
    def block_count(self) -> int:
        """Blocks in series; 0 until it was heard."""
        return int(self.number("BmsIdentity", "BlockCount") or 0)

    @property
    def is_closed(self) -> bool:
        """Whether both main contactors are reported closed."""
        return self.is_yes("BmsState", "ContactorMainPlus") and self.is_yes(
            "BmsState", "ContactorMainMinus"
        )

    def cell_voltages_v(self) -> list[float | None]:
        """Voltage of every block, in order; None where it is unknown."""
        return [self.cell_voltage_v.get(k) for k in range(self.block_count)]

    def temperatures_degc(self) -> list[float]:
        """What thermistors say, in order; those that say nothing are left out."""
        found = (self.temperature_degc[k] for k in sorted(self.temperature_degc))
        return [value for value in found if value is not None]

    def warned(self, *names: str) -> bool:
        """Whether one of these diagnoses is active."""
        return any(name in self.active for name in names)

    def alarmed(self, *names: str) -> bool:
        """Whether one of these diagnoses is active and a diagnosis of its group has tripped.

        The bus tells trips by group, so a mere warning beside a trip of its own group is told as an
        alarm too: the safe side.
        """
        groups = (spec.diagnosis(name).group for name in names if name in self.active)
        return any(self.is_yes("BmsState", "Trip" + group.capitalize()) for group in groups)

    # ---- multiplexed messages ----

    def _gather_voltages(self, values: dict[str, dbc.Value]) -> None:
        self._group(self.cell_voltage_v, values, "Cell", 4)

    def _gather_temperatures(self, values: dict[str, dbc.Value]) -> None:
        self._group(self.temperature_degc, values, "Sensor", 6)

    @staticmethod
    def _group(into: dict[int, Any], values: dict[str, dbc.Value], word: str, many: int) -> None:
        group = values["Group"]
        first = many * group if isinstance(group, int) else 0
        for k in range(many):
            value = values[f"{word}{k}"]
            if isinstance(value, int | float):
                into[first + k] = float(value)
            elif first + k in into:
                into[first + k] = None

    def _gather_balancing(self, values: dict[str, dbc.Value]) -> None:
        group, switches = values["Group"], values["Switches"]
        if isinstance(group, int) and isinstance(switches, int):
            for k in range(56):
                self.bled[56 * group + k] = bool(switches >> k & 1)

    def _gather_diagnoses(self, values: dict[str, dbc.Value]) -> None:
        page, active = values["Page"], values["Active"]
        if isinstance(page, int) and isinstance(active, int):
            self._pages[page] = active
        bits = [56 * p + b for p, word in self._pages.items() for b in range(56) if word >> b & 1]
        self.active = frozenset(spec.diagnosis_name(code) for code in bits)


def clipped(value: float, low: int, high: int) -> int:
    """Rounded to a whole number and held inside what a field of the wire can carry."""
    return max(low, min(high, round(value)))


@cache
def _known() -> dict[int, tuple[str, int | None]]:
    """Messages of the BMS: identifier -> name, data ID."""
    told = (name for name in dbc.names() if name.startswith("Bms"))
    return {dbc.frame_id(name): (name, dbc.data_id(name)) for name in told}


_GATHER = {
    "BmsCellVoltages": PackView._gather_voltages,
    "BmsCellTemperatures": PackView._gather_temperatures,
    "BmsCellBalancing": PackView._gather_balancing,
    "BmsDiagnosis": PackView._gather_diagnoses,
}
