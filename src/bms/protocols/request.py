"""Asking the BMS: the request every 10 ms, and the authority that closing and clearing need.

    sender = Sender(TEST_KEY)
    sender.hear(identifier, data)           # every frame of the BMS; BmsAuthority is what counts
    for identifier, data in sender.frames("drive", now_s):
        ...                                 # VcuRequest, and VcuAuthority when one is due

`VcuRequest` says what the vehicle wants, with end-to-end protection that anybody can compute. Going
to standby needs nothing else. Closing, changing between drive and charge, and clearing latched
diagnoses also need `VcuAuthority`: five bytes of AES-CMAC under the pack's key over the challenge
that the BMS tells and a count that only rises. ext/firmware/request.h says why it is so.

>>> mac(TEST_KEY, bytes(5), b"\\x01\\x01\\x00").hex()
'5eb76fd4de'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bms import _dbc, spec
from bms.errors import ConfigError
from bms.protocols import Malformed, dbc

TEST_KEY = b"TEST-ONLY no car"
"""The key that is shipped. A pack on the road has its own."""
KEY_BYTES, CHALLENGE_BYTES, MAC_BYTES = 16, 5, 5
PERIOD_S = 0.1  # of VcuAuthority while the wish lasts; at once when it changes
MODES = ("standby", "drive", "charge")


def mac(key: bytes, challenge: bytes, head: bytes) -> bytes:
    """The five bytes of `Mac`: `challenge` as on the wire (5 bytes), `head` bytes 0 to 2 of the
    frame."""
    identifier = dbc.frame_id("VcuAuthority").to_bytes(2, "little")
    return _dbc.cmac(key, b"A" + identifier + challenge + head)[:MAC_BYTES]


def authority(
    key: bytes, challenge: bytes, count: int, mode: str, *, clear: bool = False,
    service: bool = False,
) -> bytes:  # fmt: skip
    """Data of one VcuAuthority. `count` 1 to 65535, above the one that BmsAuthority tells."""
    wish = MODES.index(mode) | clear << 2 | service << 3
    head = bytes((wish, count & 0xFF, count >> 8))
    return head + mac(key, challenge, head)


def read_key(text: str, where: str = "request key") -> bytes:
    """A key written as 32 hexadecimal digits; ConfigError (which does not repeat it) for anything
    else."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(where, "", "(not shown)", f"{2 * KEY_BYTES} hexadecimal digits")
    return key


@dataclass
class Sender:
    """One vehicle on the bus. What it has heard of the BMS, and what it sent."""

    key: bytes = field(repr=False)
    challenge: bytes | None = None
    count: int = 0  # of the last VcuAuthority
    refusal: str = "nothing"  # why the BMS does not close, as it says
    lock_out_s: int = 0
    _counter: int = 0
    _wish: tuple[str, bool, bool] = ("standby", False, False)
    _sent_s: float = float("-inf")

    def hear(self, identifier: int, data: bytes) -> None:
        """A frame from the bus; all but BmsAuthority are passed over, and so is nonsense."""
        if identifier != dbc.frame_id("BmsAuthority") or len(data) != 8:
            return
        said = dbc.decode(identifier, data)
        if isinstance(said, Malformed):
            return
        challenge, count = data[:CHALLENGE_BYTES], int.from_bytes(data[5:7], "little")
        if challenge != self.challenge or count > self.count:
            self.count = count
        self.challenge = challenge
        self.refusal, self.lock_out_s = str(said["Refusal"]), data[7] >> 4

    def frames(
        self, mode: str, now_s: float, *, clear: bool = False, service: bool = False, **more: Any
    ) -> list[tuple[int, bytes]]:
        """What to send now, every 10 ms: (identifier, data). `more` are signals of VcuRequest,
        such as PowerDemand."""
        if mode not in MODES:
            raise ConfigError(spec.DBC.name, "Mode", mode, "one of " + ", ".join(MODES))
        asked: dict[str, Any] = {
            "Mode": mode, "Counter": self._counter, "ClearRequest": "clear" if clear else "no",
            "ServiceClear": "yes" if service else "no", "BalanceAllowed": "yes",
            "HeatingAllowed": "yes",
        } | more  # fmt: skip
        self._counter = (self._counter + 1) % 15
        out = [(dbc.frame_id("VcuRequest"), dbc.encode("VcuRequest", asked))]
        wish = (mode, clear, service and clear)
        key, challenge = self.key, self.challenge
        is_due = wish != self._wish or now_s - self._sent_s >= PERIOD_S
        if wish == ("standby", False, False):
            self._wish = wish
        elif challenge is not None and is_due:
            self.count = (self.count + 1) & 0xFFFF
            data = authority(key, challenge, self.count, mode, clear=clear, service=wish[2])
            out.append((dbc.frame_id("VcuAuthority"), data))
            self._wish, self._sent_s = wish, now_s
        return out
