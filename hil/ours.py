"""The shipped firmware as a device on a bench: events from BmsEvent, requests with authority."""

from __future__ import annotations

from pathlib import Path

from bms_hil.dut import NAN, Dut, Values

from bms import spec
from bms.errors import BmsError
from bms.protocols import request
from bms.recorder import Event

FILE = Path(__file__).parent / "duts" / "ours.toml"
Sent = tuple[int, bytes, bool]


class Ours(Dut):
    """bms_hil.dut.Dut; it hears what the BMS says of its authority."""

    period_s = 0.01

    def __init__(self, key: bytes = request.TEST_KEY) -> None:
        super().__init__(FILE)
        self._key = key
        self.sender = request.Sender(key)

    def hear(self, identifier: int, data: bytes) -> None:
        self.sender.hear(identifier, data)

    def frames(self, what: str, now_s: float, clear: bool) -> list[Sent]:
        told = self.sender.frames(what, now_s, clear=clear, service=clear)
        return [(identifier, data, False) for identifier, data in told]

    def events(self, decoded: list[tuple[float, Values]]) -> list[Event]:
        """As Dut.events, diagnoses from BmsEvent."""
        found = super().events(decoded)
        for time_s, values in decoded:
            if "BmsEvent.DiagnosisId" in values:
                try:
                    name = spec.diagnosis_name(int(values["BmsEvent.DiagnosisId"]))
                except (BmsError, ValueError, TypeError):
                    continue  # a later version of the table: not one we can judge
                verb = values["BmsEvent.Raised"]
                text = f"{values['BmsEvent.Tier']} {verb}"
                index = values["BmsEvent.Index"]
                place = int(index) if isinstance(index, int | float) else -1
                found.append(Event(round(time_s * 1e9), "diagnosis", name, place, NAN, text))
        return found
