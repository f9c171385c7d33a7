"""Relays of a switch unit as lines of the bench: ROUT:CLOS (@n), ROUT:OPEN (@n), ROUT:CLOS? (@n).

The ROUTe subsystem of SCPI-99, volume 2; how a unit numbers its channels is in its manual (101 is
slot 1, relay 1 in many). Not verified: any switch unit by us.
"""

from __future__ import annotations

import msgspec
from bms_hil.adapters._visa import Instrument

from bms.errors import ConfigError

ROLE = "lines"
CAPABILITIES = frozenset[str]()


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """lines: name -> channel. Open is the safe level of each: an interlock loop that is broken, a
    crash line that is idle. resource, visa: as of scpi_supply."""

    resource: str
    lines: dict[str, int]
    visa: str = "@py"


class Relays:
    """bms_hil.adapters.Lines."""

    def __init__(self, options: Options) -> None:
        if len(set(options.lines.values())) < len(options.lines):
            raise ConfigError("role.lines", "lines", options.lines, "a channel of its own for each")
        self._to = Instrument(options.resource, options.visa)
        self._channels, self.names = dict(options.lines), tuple(options.lines)

    def write(self, name: str, level: bool) -> None:
        self._to.write(f"ROUT:{'CLOS' if level else 'OPEN'} (@{self._channels[name]})")

    def read(self, name: str) -> bool:
        return bool(self._to.number(f"ROUT:CLOS? (@{self._channels[name]})"))

    def off(self) -> None:
        for name in self.names:
            self.write(name, False)

    def identity(self) -> str:
        return self._to.ask("*IDN?")

    def close(self) -> None:
        self._to.close()


def open(options: Options) -> Relays:
    """LinkError when it is not there."""
    return Relays(options)
