"""An electronic load that speaks plain SCPI: FUNC CURR, CURR, INP, MEAS:VOLT?, MEAS:CURR?.

Constant current is the only mode used. Loads differ in how they name the input; INP (SCPI-99
INPut:STATe) is common. Not verified: any load by us.
"""

from __future__ import annotations

import msgspec
from bms_hil.adapters._visa import Instrument

ROLE = "load"
CAPABILITIES = frozenset({"load"})


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As of scpi_supply."""

    resource: str
    visa: str = "@py"


class Load:
    """bms_hil.adapters.Source."""

    def __init__(self, options: Options) -> None:
        self._to = Instrument(options.resource, options.visa)
        self.off()
        self._to.write("FUNC CURR")

    def set(self, voltage_v: float, current_a: float) -> None:
        self._to.write(f"CURR {current_a:.3f}")

    def measured(self) -> tuple[float, float]:
        return self._to.number("MEAS:VOLT?"), self._to.number("MEAS:CURR?")

    def enable(self, is_on: bool) -> None:
        self._to.write(f"INP {int(is_on)}")

    def off(self) -> None:
        self.enable(False)
        self.set(0.0, 0.0)

    def identity(self) -> str:
        return self._to.ask("*IDN?")

    def close(self) -> None:
        self._to.close()


def open(options: Options) -> Load:
    """LinkError when it is not there."""
    return Load(options)
