"""Bloomy Advanced Battery Simulator over SCPI: 8 cells of 0 to 5 V and 5 A a box.

Commands, limits and the line end CR LF are those of the maker's open driver (abs-scpi-driver, BSD
3-clause, as of 2025): OUTPn, OUTPn:FAUL, SOURn:VOLT, SOURn:CURR:SRC, SOURn:CURR:SNK, MEASn:VOLT?.
Not verified by us: any of it on a box, the TCP port, settling times, what SYST:ERR? says.
"""

from __future__ import annotations

import msgspec
from bms_hil.adapters._visa import Instrument

ROLE = "cells"
CAPABILITIES = frozenset({"cell_voltages", "cell_open", "cell_short"})
A_BOX = 8
FAULTS = {"none": "NONE", "open": "OPEN", "short": "SHORT"}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """resources: VISA addresses of the boxes, that with the most negative cells first."""

    resources: list[str]
    visa: str = "@py"


class Boxes:
    """bms_hil.adapters.Cells."""

    def __init__(self, options: Options) -> None:
        self._boxes = [Instrument(r, options.visa, "\r\n") for r in options.resources]
        self.count = A_BOX * len(self._boxes)

    def _of(self, cell: int) -> tuple[Instrument, int]:
        return self._boxes[cell // A_BOX], cell % A_BOX + 1

    def set_current(self, limit_a: float) -> None:
        for cell in range(self.count):
            box, n = self._of(cell)
            box.write(f"SOUR{n}:CURR:SRC {limit_a:.4f}")
            box.write(f"SOUR{n}:CURR:SNK {limit_a:.4f}")

    def set_voltage(self, cell: int, voltage_v: float) -> None:
        box, n = self._of(cell)
        box.write(f"SOUR{n}:VOLT {voltage_v:.4f}")

    def voltage(self, cell: int) -> float:
        box, n = self._of(cell)
        return box.number(f"MEAS{n}:VOLT?")

    def enable(self, is_on: bool) -> None:
        for cell in range(self.count):
            box, n = self._of(cell)
            box.write(f"OUTP{n} {int(is_on)}")

    def fault(self, cell: int, kind: str) -> None:
        box, n = self._of(cell)
        box.write(f"OUTP{n}:FAUL {FAULTS[kind]}")

    def off(self) -> None:
        for cell in range(self.count):
            box, n = self._of(cell)
            box.write(f"OUTP{n} 0")
            box.write(f"OUTP{n}:FAUL NONE")
            box.write(f"SOUR{n}:VOLT 0.0000")

    def identity(self) -> str:
        return "; ".join(box.ask("*IDN?") for box in self._boxes)

    def close(self) -> None:
        for box in self._boxes:
            box.close()


def open(options: Options) -> Boxes:
    """LinkError when a box is not there."""
    return Boxes(options)
