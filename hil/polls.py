"""What a device tells only when it is asked: data identifiers, trouble codes, a serial face."""

from __future__ import annotations

import os
import select
import time
from typing import Any

from bms_hil.diagnostic import FAILED_NOW, Diagnostic, Refused
from bms_hil.dut import Dut

from bms.errors import ConfigError, LinkError
from bms.protocols import Malformed

ANSWER_S = 0.5
BYTES_AT_ONCE = 4096


def ask_uds(tester: Diagnostic, dut: Dut) -> dict[str, Any]:
    """One round: key -> bytes of every data identifier, 1 or 0 of every trouble code. What is
    refused is unknown. LinkError for silence."""
    places = dut.sources().values()
    found: dict[str, Any] = {}
    for did in sorted({p.did for p in places if p.did >= 0}):
        try:
            found[f"did {did:04x}"] = tester.read(did, raw=True)
        except Refused:
            found[f"did {did:04x}"] = None
    codes = [p for p in places if p.dtc >= 0]
    if codes:
        stored = tester.codes(FAILED_NOW)
        found |= {p.key: int(p.dtc in stored) for p in codes}
    return found


class SerialFace:
    """The host's end of a serial face. path: port or pseudo-terminal. ConfigError, LinkError."""

    def __init__(self, path: str, dut: Dut) -> None:
        import serial

        self.module, self.path = dut.protocol(), path
        assert dut.file.serial is not None
        self._asked = [self._request(dut, dict(row)) for row in dut.file.serial.ask]
        baud = dut.file.serial.baud or self.module.BAUD
        try:
            self._port = serial.Serial(path, baud, timeout=0)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise LinkError(f"{path}: {error}; is it plugged in, and yours?") from None
        self._fd = self._port.fileno()
        self.malformed = 0

    def _request(self, dut: Dut, row: dict[str, Any]) -> bytes:
        kind = getattr(self.module, str(row.pop("type", "Request")), None)
        try:
            return bytes(self.module.encode(kind(**row)))  # type: ignore[misc]
        except TypeError as error:
            raise ConfigError(
                dut.path, "serial.ask", row, f"fields of its request: {error}"
            ) from None

    def ask(self) -> dict[str, Any]:
        """One round: "serial Message.field" -> value. LinkError when nothing is answered."""
        found: dict[str, Any] = {}
        for request in self._asked:
            message = self._answer(request)
            if message is not None:
                name = type(message).__name__
                found |= {f"serial {name}.{f}": getattr(message, f)
                          for f in message.__struct_fields__}  # fmt: skip
        if not found:
            raise LinkError(
                f"{self.path}: the device does not answer {self.module.__name__} at "
                f"{self.module.BAUD} baud; {self.malformed} broken answers"
            )
        return found

    def _answer(self, request: bytes) -> Any:
        os.write(self._fd, request)
        heard, end_s = bytearray(), time.monotonic() + ANSWER_S
        while (left_s := end_s - time.monotonic()) > 0.0:
            if select.select([self._fd], [], [], left_s)[0]:
                heard += os.read(self._fd, BYTES_AT_ONCE)
            while heard:
                size = self.module.frame_size(heard)
                if size == 0 or size > len(heard):
                    break
                message = self.module.decode(bytes(heard[:size])) if size > 0 else None
                if message is None or isinstance(message, Malformed):
                    self.malformed += 1
                    del heard[0]
                    continue
                return message
        return None

    def close(self) -> None:
        """Ends it."""
        self._port.close()
