"""A charger that is a bench supply: VOLT and CURR as it, read back, in the charging direction.

SCPI-99, volume 2, as in scpi_supply. A supply takes no current back only if it is built so: the
bench needs a diode or a contactor of its own between it and the pack. Not verified: any one by us.
"""

from __future__ import annotations

from bms_hil.adapters.scpi_supply import Options, Supply

ROLE = "charger"
CAPABILITIES = frozenset({"charger"})


class Charger(Supply):
    """bms_hil.adapters.Charger."""

    def told(self) -> tuple[float, float]:
        return self._to.number("VOLT?"), self._to.number("CURR?")

    def off(self) -> None:
        self.enable(False)
        self.set(0.0, 0.0)


def open(options: Options) -> Charger:
    """LinkError when it is not there."""
    return Charger(options)
