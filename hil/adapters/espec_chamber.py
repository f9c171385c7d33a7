"""A climate chamber with an ESPEC P-300 or SCP-220 controller: TEMP?, TEMP,S, MODE.

Commands are from the maker's open driver (ChamberConnectLibrary, MIT): an answer to each, NA: and
the reason where it is refused, TEMP? tells air, set point and the controller's own two limits. Not
SCPI, and no error queue. Off is standby. Not verified: any chamber by us.
"""

from __future__ import annotations

import msgspec
from bms_hil.adapters._visa import Instrument

from bms.errors import LinkError

ROLE = "chamber"
CAPABILITIES = frozenset({"chamber"})


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As of scpi_supply; a serial port is ASRL/dev/ttyUSB0::INSTR."""

    resource: str
    visa: str = "@py"


class Chamber:
    """bms_hil.adapters.Chamber."""

    def __init__(self, options: Options) -> None:
        self._to = Instrument(options.resource, options.visa, "\r\n", identify="TYPE?")

    def _ask(self, command: str) -> str:
        said = self._to.ask(command)
        if said.startswith("NA:"):
            raise LinkError(f"{self._to.resource}: {command} was refused: {said}")
        return said

    def _temperatures(self) -> tuple[float, float]:
        said = self._ask("TEMP?")
        try:
            air, wanted = said.split(",")[:2]
            return float(air), float(wanted)
        except ValueError:
            raise LinkError(f"{self._to.resource}: TEMP?: answered {said!r}") from None

    def set(self, temperature_degc: float) -> None:
        self._ask(f"TEMP,S{temperature_degc:.1f}")

    def told(self) -> float:
        return self._temperatures()[1]

    def measured(self) -> float:
        return self._temperatures()[0]

    def enable(self, is_on: bool) -> None:
        self._ask("MODE,CONSTANT" if is_on else "MODE,STANDBY")

    def off(self) -> None:
        self.enable(False)

    def identity(self) -> str:
        return f"chamber {self._ask('TYPE?')}"

    def close(self) -> None:
        self._to.close()


def open(options: Options) -> Chamber:
    """LinkError when it is not there."""
    return Chamber(options)
