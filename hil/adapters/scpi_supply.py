"""A supply that speaks plain SCPI: VOLT, CURR, OUTP, MEAS:VOLT?, MEAS:CURR? (SCPI-99, volume 2).

These five commands are what most bench supplies share. Not verified: any one of them by us.
"""

from __future__ import annotations

import msgspec
from bms_hil.adapters._visa import Instrument

ROLE = "supply"
CAPABILITIES = frozenset({"supply"})


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """resource: a VISA address. visa: the backend, "FILE@sim" for simulated instruments."""

    resource: str
    visa: str = "@py"


class Supply:
    """bms_hil.adapters.Source."""

    def __init__(self, options: Options) -> None:
        self._to = Instrument(options.resource, options.visa)

    def set(self, voltage_v: float, current_a: float) -> None:
        self._to.write(f"CURR {current_a:.3f}")  # the limit first
        self._to.write(f"VOLT {voltage_v:.3f}")

    def measured(self) -> tuple[float, float]:
        return self._to.number("MEAS:VOLT?"), self._to.number("MEAS:CURR?")

    def enable(self, is_on: bool) -> None:
        self._to.write(f"OUTP {int(is_on)}")

    def off(self) -> None:
        self.enable(False)

    def identity(self) -> str:
        return self._to.ask("*IDN?")

    def close(self) -> None:
        self._to.close()


def open(options: Options) -> Supply:
    """LinkError when it is not there."""
    return Supply(options)
