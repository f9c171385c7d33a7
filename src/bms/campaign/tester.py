"""A workshop's tester on the vehicle bus: opens a session, shows a key, tries the contactors.

ISO-TP as far as it needs it: requests of up to 18 bytes, an answer of 18. What is answered to one
without the key is judged by the oracle (C4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bms import _dbc
from bms.links import FRAME_DTYPE
from bms.spec import uds

if TYPE_CHECKING:
    from bms.campaign.play import Stage

VEHICLE_BUS, NOBODY, KEPT = 0, 0, 256
ANSWER_S = 0.03  # a request, its way, the answer's way
KEPT_S = 0.5  # that a key was wrong is kept in memory before it is told
PAD = 0xCC
SESSION, SEED = b"\x10\x03", b"\x27\x01"
CONTACTORS, CLEAR = b"\x31\x01\x02\x02", b"\x14\xff\xff\xff"
WRITE = b"\x2e\xf1\x99\x20\x26\x01\x01"  # the date of programming
SEED_BYTES = 16


def visit(stage: Stage, *, genuine: bool) -> None:
    """Somebody tries each contactor; without the key he guesses, writes and clears as well."""
    stage.simulation.world.tap_frames(VEHICLE_BUS, KEPT)
    _ask(stage, SESSION)
    if genuine:
        stage.watch.fields["has_key"][0] = 1
    _unlock(stage, stage.key if genuine else bytes(SEED_BYTES))
    if not genuine:
        stage.run_to(stage.time_s + KEPT_S)
    _ask(stage, CONTACTORS)
    if not genuine:
        _ask(stage, WRITE)
        stage.run_to(stage.time_s + KEPT_S)
        _ask(stage, CLEAR)
    stage.simulation.world.tap_frames(VEHICLE_BUS, NOBODY)


def _unlock(stage: Stage, key: bytes) -> None:
    heard = _ask(stage, SEED)
    first = next((data for data in heard if data[0] == 0x10), b"")
    if not first:  # refused, or nobody there
        return
    heard = _send(stage, b"\x30\x00\x00")
    rest = b"".join(data[1:] for data in heard if data[0] >> 4 == 2)
    seed = (first[4:] + rest)[:SEED_BYTES]
    if len(seed) < SEED_BYTES:
        return
    answer = b"\x27\x02" + _dbc.cmac(_dbc.cmac(key, uds.SECURITY_LABEL), seed)
    _send(stage, bytes((0x10, len(answer))) + answer[:6])
    _send(stage, b"\x21" + answer[6:13])
    _send(stage, b"\x22" + answer[13:])


def _ask(stage: Stage, request: bytes) -> list[bytes]:
    return _send(stage, bytes((len(request),)) + request)


def _send(stage: Stage, data: bytes) -> list[bytes]:
    """Puts a frame on the bus; what the control unit answers within a while."""
    frame = np.zeros(1, FRAME_DTYPE)
    frame["id"], frame["length"] = uds.REQUEST_ID, 8
    frame["data"][0, :8] = np.frombuffer(data.ljust(8, bytes((PAD,))), np.uint8)
    world = stage.simulation.world
    world.put_frames(VEHICLE_BUS, frame)
    stage.run_to(stage.time_s + ANSWER_S)
    heard, _lost = world.take_frames(VEHICLE_BUS)
    return [bytes(row["data"][:8]) for row in heard if int(row["id"]) == uds.ANSWER_ID]
