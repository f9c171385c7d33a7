"""The diagnostic port of a rig: a workshop's tester (ISO 14229-1 over ISO 15765-2, classic CAN).

    rig.diagnostic.read("pack_voltage")      52.341 as the unit says, or None for unknown
    rig.diagnostic.read(0xF190, raw=True)    bytes, of any UDS server
    rig.diagnostic.dtcs()                    {"interlock_open": 0x2F}: what is stored, its status
    rig.diagnostic.clear()
    rig.diagnostic.request(b"\\x10\\x03")      anything else

The tester has no clock and no thread: it asks its `Wire` to let time pass, so it works in virtual
time as on a real bus. A refusal is `Refused` with the server's reason, silence is LinkError. Frames
that are no ISO-TP, or come in a wrong order, are counted in `malformed` and end the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bms import links, spec
from bms.errors import BmsError, ConfigError, LinkError
from bms.spec import uds

Frame = tuple[int, bytes]
POLL_S = 0.002  # between looks at the bus
ANSWER_S = 1.0  # P2 with room for a real bus
PENDING_S = 5.5  # and after "wait", P2* likewise
BLOCK_S = 1.0  # N_Bs, N_Cr
SINGLE_MOST, MESSAGE_MOST = 7, 4095
PAD = b"\xcc"
REASONS = {
    0x10: "general reject", 0x11: "service not supported", 0x12: "sub-function not supported",
    0x13: "wrong length", 0x14: "answer too long", 0x22: "conditions not correct",
    0x24: "wrong sequence", 0x31: "out of range", 0x33: "security access denied",
    0x35: "invalid key", 0x36: "too many attempts", 0x37: "time delay not over",
    0x72: "programming failure", 0x78: "wait", 0x7E: "sub-function not in active session",
    0x7F: "service not in active session",
}  # fmt: skip
CONFIRMED = 0x08  # bits of a trouble code's status
FAILED_NOW = 0x01
ALL_CODES = 0xFFFFFF


class Refused(BmsError):
    """The server answered no. `code` is its reason."""

    def __init__(self, service: int, code: int) -> None:
        self.service, self.code = service, code
        super().__init__(f"service {service:02X} refused: {REASONS.get(code, f'code {code:02X}')}")


@dataclass(frozen=True)
class Wire:
    """What a tester needs of a rig: send(identifier, data), frames heard since the last call, time
    that passes."""

    send: Callable[[int, bytes], None]
    heard: Callable[[], Iterable[Frame]]
    wait: Callable[[float], None]


def on_link(link: links.Link) -> Wire:
    """The wire of a tester that has a link of its own."""

    def heard() -> list[Frame]:
        found = []
        while (frame := link.receive(0.0)) is not None:
            found.append((frame.id, bytes(frame.data)))
        return found

    def send(identifier: int, data: bytes) -> None:
        link.send(links.Frame(identifier, data, extended=identifier > 0x7FF))

    return Wire(send, heard, time.sleep)


class Diagnostic:
    """A tester on a bus. Identifiers above 0x7FF are extended. is_ours: names and numbers of
    docs/uds.md are known."""

    def __init__(
        self, wire: Wire, request_id: int = uds.REQUEST_ID, answer_id: int = uds.ANSWER_ID,
        *, is_ours: bool = True,
    ) -> None:  # fmt: skip
        self._wire, self.request_id, self.answer_id = wire, request_id, answer_id
        self.is_ours, self.malformed = is_ours, 0
        self._inbox: list[bytes] = []

    # ---- what a workshop asks ----

    def read(self, what: int | str, *, raw: bool = False) -> Any:
        """ReadDataByIdentifier: the value in the unit of docs/uds.md, None for unknown; with `raw`,
        or of a foreign server, bytes. Refused, LinkError."""
        did = self._identifier(what)
        answer = self.request(bytes((0x22, did >> 8, did & 0xFF)))
        if answer[1:3] != did.to_bytes(2, "big"):
            raise LinkError(f"diagnostics: asked for {did:04X}, answered {answer[1:3].hex()}")
        data = answer[3:]
        return data if raw or not self.is_ours else uds.decode(did, data)

    def dtcs(self, mask: int = CONFIRMED) -> dict[str, int]:
        """Trouble codes whose status has a bit of `mask`: by the diagnosis, or as "P" and digits of
        a foreign server; with their status."""
        return {self._code_name(code): status for code, status in self.codes(mask).items()}

    def codes(self, mask: int = CONFIRMED) -> dict[int, int]:
        """The same by number."""
        answer = self.request(bytes((0x19, 0x02, mask)))
        rows = [answer[k : k + 4] for k in range(3, len(answer) - 3, 4)]
        return {int.from_bytes(r[:3], "big"): r[3] for r in rows}

    def clear(self, group: int = ALL_CODES) -> None:
        """ClearDiagnosticInformation. Refused while contactors are closed."""
        self.request(b"\x14" + group.to_bytes(3, "big"))

    def session(self, kind: int) -> None:
        """DiagnosticSessionControl: 1 default, 3 extended."""
        self.request(bytes((0x10, kind)))

    def request(self, payload: bytes) -> bytes:
        """Any request; the positive answer. Refused, LinkError."""
        self._hear()
        self._inbox.clear()
        self._transmit(payload)
        within_s = ANSWER_S
        while True:
            answer = self._receive(within_s, payload)
            if answer[:1] == b"\x7f" and len(answer) >= 3:
                if answer[2] == 0x78:
                    within_s = PENDING_S
                    continue
                raise Refused(answer[1], answer[2])
            if answer[:1] == bytes((payload[0] | 0x40,)):
                return answer
            self.malformed += 1

    def _identifier(self, what: int | str) -> int:
        if isinstance(what, int):
            return what
        for row in uds.identifiers().values() if self.is_ours else ():
            if row.name == what:
                return row.id
        known = ", ".join(r.name for r in uds.identifiers().values()) if self.is_ours else "numbers"
        raise ConfigError("rig.diagnostic.read", "", what, known)

    def _code_name(self, code: int) -> str:
        diagnosis = uds.diagnosis_of(code) if self.is_ours else None
        if diagnosis is not None:
            return spec.diagnosis_name(diagnosis)
        letter, rest = "PCBU"[code >> 22 & 3], code >> 8 & 0x3FFF
        return f"{letter}{rest:04X}-{code & 0xFF:02X}"

    # ---- ISO-TP ----

    def _hear(self) -> None:
        self._inbox += [data for identifier, data in self._wire.heard()
                        if identifier == self.answer_id and data]  # fmt: skip

    def _send(self, data: bytes) -> None:
        self._wire.send(self.request_id, data.ljust(8, PAD))

    def _next(self, within_s: float, asked: bytes) -> bytes:
        """The next frame of the server. LinkError when there is none in time."""
        left_s = within_s
        self._hear()
        while not self._inbox:
            if left_s <= 0.0:
                raise LinkError(
                    f"diagnostics: no answer to {asked[:8].hex(' ')} (sent as {self.request_id:X}) "
                    f"from {self.answer_id:X} within {within_s:g} s"
                )
            self._wire.wait(POLL_S)
            left_s -= POLL_S
            self._hear()
        return self._inbox.pop(0)

    def _transmit(self, payload: bytes) -> None:
        if not 0 < len(payload) <= MESSAGE_MOST:
            raise ConfigError("rig.diagnostic", "bytes", len(payload), f"1 to {MESSAGE_MOST}")
        if len(payload) <= SINGLE_MOST:
            self._send(bytes((len(payload),)) + payload)
            return
        self._send((0x1000 | len(payload)).to_bytes(2, "big") + payload[:6])
        rest = [payload[k : k + 7] for k in range(6, len(payload), 7)]
        number, room, gap_s = 1, 0, 0.0
        for part in rest:
            if room == 0:
                room, gap_s = self._flow(payload, len(rest))
            self._send(bytes((0x20 | number & 0xF,)) + part)
            number, room = number + 1, room - 1
            self._wire.wait(max(gap_s, 1e-3))

    def _flow(self, payload: bytes, left: int) -> tuple[int, float]:
        """Frames the server has room for, and the time between two."""
        while True:
            frame = self._next(BLOCK_S, payload)
            if frame[0] >> 4 != 3 or len(frame) < 3:
                self.malformed += 1
                continue
            if frame[0] & 0xF == 1:
                continue  # wait
            if frame[0] & 0xF != 0:
                raise LinkError(f"diagnostics: the server has no room for {len(payload)} bytes")
            gap = frame[2]
            return frame[1] or left, gap * 1e-3 if gap <= 0x7F else 1e-3

    def _receive(self, within_s: float, asked: bytes) -> bytes:
        while True:
            frame = self._next(within_s, asked)
            kind = frame[0] >> 4
            if kind == 0 and 0 < frame[0] & 0xF < len(frame):
                return frame[1 : 1 + (frame[0] & 0xF)]
            if kind == 1 and len(frame) == 8:
                return self._rest(frame, asked)
            self.malformed += 1

    def _rest(self, first: bytes, asked: bytes) -> bytes:
        size, data, number = (first[0] & 0xF) << 8 | first[1], first[2:], 1
        self._send(b"\x30\x00\x00")
        while len(data) < size:
            frame = self._next(BLOCK_S, asked)
            if frame[0] != 0x20 | number & 0xF:
                self.malformed += 1
                raise LinkError(f"diagnostics: frame {number} of an answer is missing")
            data, number = data + frame[1:], number + 1
        return data[:size]
