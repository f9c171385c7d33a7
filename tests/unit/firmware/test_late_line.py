"""Readings of a pull on the cells' wires are never told as voltages, however late the line is."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from firmware_rig import Rig

from bms.protocols import dbc

ROUND_MS = 17_000  # all modules are pulled once meanwhile
NEAR_V = 0.006  # noise of a reading; a pull is more than twice as far


class LateChips:
    """Chips behind a line that brings every byte, commands and answers, some milliseconds later."""

    def __init__(self, chips: Any, command_ms: int, answer_ms: int) -> None:
        self._chips = chips
        self._commands = deque([(b"", 0)] * command_ms)
        self._answers = deque([b""] * answer_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chips, name)

    def exchange(self, *arguments: Any) -> bytes:
        *world, sent, low_us = arguments
        self._commands.append((sent, low_us))
        self._answers.append(self._chips.exchange(*world, *self._commands.popleft()))
        return bytes(self._answers.popleft())


@pytest.mark.parametrize(("command_ms", "answer_ms"), [(0, 0), (1, 1), (4, 0), (0, 4), (2, 2)])
def test_a_pull_is_never_told_as_a_voltage(command_ms: int, answer_ms: int) -> None:
    rig = Rig("bench_16s1p").to_standby()
    rig.chips = LateChips(rig.chips, command_ms, answer_ms)
    true_v = float(rig.volts[0])
    told: list[float] = []
    pulled = 0
    rig.run(200)
    scans = rig.probe("cell_scan")
    for _ in range(ROUND_MS):
        rig.step()
        pulled += float(rig.probe("cell_min_uv")) * 1e-6 < true_v - NEAR_V
        for _bus, who, data in rig.sent:
            if who == dbc.frame_id("BmsCellVoltageExtremes"):
                message = dbc.decode(who, data)
                told += [float(message["CellVoltageMin"]), float(message["CellVoltageMax"])]
    assert rig.probe("cell_scan") > scans + 500, "the line is late, and not lost"
    assert pulled > 0, "the module was pulled"
    assert told and max(abs(v - true_v) for v in told) < NEAR_V


def test_what_is_told_first_is_a_voltage() -> None:
    """Before an answer has proved that no switch pulls there is nothing older to tell."""
    rig = Rig("bench_16s1p")
    told: list[float] = []
    for _ in range(500):
        rig.step()
        for _bus, who, data in rig.sent:
            if who == dbc.frame_id("BmsCellVoltageExtremes"):
                message = dbc.decode(who, data)
                told += [v for v in (message["CellVoltageMin"],) if v is not None]
    assert told and abs(min(told) - min(rig.volts)) < NEAR_V
