"""Bloomy BS1200 cell simulator over CAN: 12 cells of 0 to 5 V and 0.5 A a box, at 1 Mbit/s.

Identifiers and scales are those of the maker's open driver (BS1200-Python-Driver): box b listens at
510h+b (one voltage: channel from 0, 100 uV steps), 480h+b (sink and source limit, 100 uA steps) and
540h+b (all on or off), and tells voltages at 120h+b, 130h+b and 140h+b, four a frame. Early
versions of that driver read the voltages as half floats, later ones as integers: we take integers.
Not verified by us: any of it on a box, and how often a box tells.
"""

from __future__ import annotations

import struct
import time

import msgspec

from bms import links
from bms.errors import ConfigError, LinkError

ROLE = "cells"
CAPABILITIES = frozenset({"cell_voltages"})
A_BOX = 12
CURRENT_ALL, VOLTAGE_ONE, ENABLE_ALL, TOLD = 0x480, 0x510, 0x540, (0x120, 0x130, 0x140)
VOLT_STEP, AMPERE_STEP = 1e-4, 1e-4
TELLS_WITHIN_S = 1.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """can: a CAN URL. boxes: their numbers, 1 to 15, that with the most negative cells first."""

    can: str
    boxes: list[int]


class Boxes:
    """bms_hil.adapters.Cells."""

    def __init__(self, options: Options) -> None:
        for box in options.boxes:
            if not 1 <= box <= 15:
                raise ConfigError("role.cells", "boxes", box, "1 to 15")
        self._boxes, self.count = options.boxes, A_BOX * len(options.boxes)
        self._link = links.open(options.can, bitrate=1_000_000)
        self._link.wait_up(TELLS_WITHIN_S)

    def _send(self, identifier: int, data: bytes) -> None:
        if not self._link.send(links.Frame(identifier, data)):
            raise LinkError(f"{self._link.url}: cannot send: {self._link.reason or 'queue full'}")

    def set_current(self, limit_a: float) -> None:
        steps = round(limit_a / AMPERE_STEP)
        for box in self._boxes:
            self._send(CURRENT_ALL + box, struct.pack("<HH", steps, steps))

    def set_voltage(self, cell: int, voltage_v: float) -> None:
        box, channel = self._boxes[cell // A_BOX], cell % A_BOX
        self._send(VOLTAGE_ONE + box, struct.pack("<BH", channel, round(voltage_v / VOLT_STEP)))

    def voltage(self, cell: int) -> float:
        """The first that is told from now on."""
        box, channel = self._boxes[cell // A_BOX], cell % A_BOX
        while self._link.receive(0.0) is not None:
            pass
        end_s = time.monotonic() + TELLS_WITHIN_S
        while (left_s := end_s - time.monotonic()) > 0.0:
            frame = self._link.receive(left_s)
            if frame is not None and frame.id == TOLD[channel // 4] + box and len(frame.data) == 8:
                return float(struct.unpack("<4H", frame.data)[channel % 4] * VOLT_STEP)
        raise LinkError(
            f"{self._link.url}: BS1200 box {box} tells no voltages within {TELLS_WITHIN_S:g} s; is "
            "it on, its number right, the bus at 1 Mbit/s and terminated?"
        )

    def enable(self, is_on: bool) -> None:
        for box in self._boxes:
            self._send(ENABLE_ALL + box, bytes((is_on,)))

    def fault(self, cell: int, kind: str) -> None:
        if kind != "none":
            raise LinkError("a BS1200 breaks no connections by itself: that is the work of a "
                            "fault-insertion unit")  # fmt: skip

    def off(self) -> None:
        self.enable(False)

    def identity(self) -> str:
        return f"Bloomy BS1200, boxes {self._boxes}"

    def close(self) -> None:
        self._link.close()


def open(options: Options) -> Boxes:
    """LinkError when the bus cannot be had."""
    return Boxes(options)
