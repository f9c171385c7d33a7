"""What a CAN frame is called and says, by the message database and the sensors' layouts.

Bytes come from outside: what does not fit is told as it is and never raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bms_gui.words import SPOKEN

from bms import spec
from bms.protocols import CanFrame, Malformed, dbc, elcon, imd, ivts
from bms.protocols.codec import EXTENDED as FAR
from bms.protocols.codec import Codec

EXTENDED, REMOTE, ERROR = 1, 2, 16
BUSES = ("vehicle", "sensor")


@dataclass(frozen=True)
class Kind:
    """What is known of an identifier. period_s: NaN without a cycle time. data_id: of its
    end-to-end protection, -1 without."""

    name: str
    sender: str = ""
    period_s: float = float("nan")
    data_id: int = -1
    signals: tuple[str, ...] = ()


@cache
def kind(bus: int, identifier: int, flags: int, book: Codec | None = None) -> Kind:
    """What is known of an identifier. book: the message database of a bus that is not ours."""
    if flags & ERROR:
        return Kind("error frame")
    if bus == 0 or book is not None:
        codec = book or dbc.codec()
        message = codec.by_identifier.get(identifier | (FAR if flags & EXTENDED else 0))
        if message is not None:
            period_s = message.cycle_time * 1e-3 if message.cycle_time else float("nan")
            data_id = codec.data_ids.get(message.name, -1)
            signals = tuple(s.name for s in message.signals)
            return Kind(message.name, ", ".join(message.senders), period_s, data_id, signals)
    if not flags & EXTENDED and ivts.RESULT_ID <= identifier <= ivts.RESULT_ID + 7:
        name = ivts.QUANTITIES[identifier - ivts.RESULT_ID][0]
        return Kind(f"IVT {name}", "current sensor", signals=(name,))
    if not flags & EXTENDED and identifier in (ivts.COMMAND_ID, ivts.RESPONSE_ID):
        return Kind("IVT command" if identifier == ivts.COMMAND_ID else "IVT answer")
    for module, title in ((imd, "insulation monitor"), (elcon, "charger")):
        found = module.decode(CanFrame(identifier, bytes(8), bool(flags & EXTENDED)))
        if not isinstance(found, Malformed) or found.reason != "identifier":
            return Kind(title, title)
    return Kind("")


@cache
def _units(name: str, book: Codec) -> dict[str, str]:
    message = book.messages.get(name)
    return {s.name: s.unit or "" for s in message.signals} if message is not None else {}


def signals(
    bus: int, identifier: int, flags: int, data: bytes, book: Codec | None = None
) -> list[tuple[str, str, str]]:
    """(name, value in words, unit) of every signal; one row that says why if there are none."""
    if flags & ERROR:
        return [("", "an error frame: a node destroyed what was being sent", "")]
    if flags & REMOTE:
        return [("", "a remote frame carries no data", "")]
    known = kind(bus, identifier, flags, book)
    codec = book or dbc.codec()
    if known.name in codec.messages:
        if len(data) != codec.messages[known.name].length:
            return [("", f"does not fit {known.name}: wrong length", "")]
        values = codec.decode(identifier, data, bool(flags & EXTENDED))
        if isinstance(values, Malformed):
            return [("", f"does not fit {known.name}: {values.reason}", "")]
        units = _units(known.name, codec)
        return [(n, _word(known.name, n, v), units.get(n, "")) for n, v in values.items()]
    frame = CanFrame(identifier, data, bool(flags & EXTENDED))
    for module in (ivts, imd, elcon):
        told = module.decode(frame)  # type: ignore[attr-defined]
        if not isinstance(told, Malformed):
            rows = [(field, str(getattr(told, field)), "") for field in told.__struct_fields__]
            if hasattr(told, "name") and hasattr(told, "value"):
                stem, _, unit = str(told.name).rpartition("_")
                rows.insert(
                    0, (stem, f"{told.value:.6g}", SPOKEN.get(unit, _UNITS.get(unit, unit)))
                )
            return rows
    return [("", "no message of this identifier is known", "")]


_UNITS = {"a": "A", "v": "V", "w": "W", "as": "As", "wh": "Wh"}


def _word(message: str, name: str, value: object) -> str:
    if value is None:
        return "not available"
    if name in ("DiagnosisId", "FirstTripDiagnosis") and isinstance(value, int | float):
        return f"{value:.0f} ({spec.diagnosis_name(int(value))})" if value else "0 (none)"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("_", " ")


def name_of(bus: int) -> str:
    """A bus in a word."""
    return BUSES[bus] if 0 <= bus < len(BUSES) else f"bus {bus}"


def id_text(identifier: int, flags: int) -> str:
    """An identifier as it is written."""
    return f"{identifier:08X}" if flags & EXTENDED else f"{identifier:03X}"
