"""Digital outputs of a Bloomy Advanced Battery Simulator (SOUR:DAUX:OUTn) as lines of the bench.

Four a box; as in bloomy_abs, from the maker's open driver and never tried on a box. What a line
switches (a relay in the interlock loop, a crash input) is the bench's wiring.
"""

from __future__ import annotations

import msgspec
from bms_hil.adapters._visa import Instrument

from bms.errors import ConfigError

ROLE = "lines"
CAPABILITIES = frozenset[str]()
OUTPUTS = 4


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """lines: name -> number of the output, 1 to 4. Low is the safe level of each: an interlock
    relay that opens, a crash line that is idle."""

    resource: str
    lines: dict[str, int]
    visa: str = "@py"


class Outputs:
    """bms_hil.adapters.Lines."""

    def __init__(self, options: Options) -> None:
        for name, output in options.lines.items():
            if not 1 <= output <= OUTPUTS:
                raise ConfigError("role.lines", name, output, f"1 to {OUTPUTS}")
        self._to = Instrument(options.resource, options.visa, "\r\n")
        self._lines, self.names = dict(options.lines), tuple(options.lines)

    def write(self, name: str, level: bool) -> None:
        self._to.write(f"SOUR:DAUX:OUT{self._lines[name]} {int(level)}")

    def read(self, name: str) -> bool:
        return bool(self._to.number(f"SOUR:DAUX:OUT{self._lines[name]}?"))

    def off(self) -> None:
        for name in self.names:
            self.write(name, False)

    def identity(self) -> str:
        return self._to.ask("*IDN?")

    def close(self) -> None:
        self._to.close()


def open(options: Options) -> Outputs:
    """LinkError when it is not there."""
    return Outputs(options)
