"""A workshop's tester at the firmware's bus: udsoncan over can-isotp, in the rig's virtual time."""

from __future__ import annotations

from collections import deque

import isotp
import udsoncan
import udsoncan.configs
from firmware_rig import Rig
from udsoncan.client import Client
from udsoncan.connections import BaseConnection

from bms import _firmware
from bms.protocols import request
from bms.spec import uds

WAIT_MS = 9000


class Tester(BaseConnection):
    __test__ = False
    """`rig` moves a millisecond at a time while the tester waits."""

    def __init__(self, rig: Rig, address: int = uds.REQUEST_ID, **params: object) -> None:
        super().__init__("virtual time")
        self.rig, self.address = rig, address
        self.heard: deque[isotp.CanMessage] = deque()
        self.frames: list[bytes] = []
        self.pending = 0
        way = isotp.Address(isotp.AddressingMode.Normal_11bits, txid=address, rxid=uds.ANSWER_ID)
        options = {"tx_padding": 0xCC, "stmin": 0, "blocksize": 4, **params}
        self.layer = isotp.TransportLayerLogic(
            rxfn=self._hear, txfn=self._say, address=way, params=options
        )

    def _hear(self, timeout: float = 0.0) -> isotp.CanMessage | None:
        return self.heard.popleft() if self.heard else None

    def _say(self, message: isotp.CanMessage) -> None:
        self.rig.extra.append((0, message.arbitration_id, bytes(message.data)))

    def step(self) -> None:
        self.layer.process()
        self.rig.step()
        for _bus, identifier, data in self.rig.sent:
            if identifier == uds.ANSWER_ID:
                self.frames.append(data)
                self.pending += data[:2] == b"\x03\x7f" and data[3] == 0x78
                self.heard.append(isotp.CanMessage(arbitration_id=identifier, data=data))
        self.layer.process()

    def open(self) -> Tester:
        return self

    def close(self) -> None:
        self.empty_rxqueue()

    def is_open(self) -> bool:
        return True

    def empty_rxqueue(self) -> None:
        while self.layer.available():
            self.layer.recv()

    def specific_send(self, payload: bytes) -> None:
        self.layer.send(payload)

    def specific_wait_frame(self, timeout: float = 2.0) -> bytes:
        for _ in range(WAIT_MS):
            if self.layer.available():
                return bytes(self.layer.recv())
            self.step()
        raise udsoncan.exceptions.TimeoutException("no answer")

    def ask(self, payload: bytes, within_ms: int = WAIT_MS) -> bytes | None:
        """Any bytes; the last answer, waits left out, or None for silence."""
        self.empty_rxqueue()
        self.layer.send(payload)
        for _ in range(within_ms):
            self.step()
            if not self.layer.available():
                continue
            answer = bytes(self.layer.recv())
            if answer[:1] != b"\x7f" or answer[2] != 0x78:
                return answer
        return None


class Numbers(udsoncan.DidCodec):
    def __init__(self, row: uds.Identifier, blocks: int) -> None:
        self.row, self.blocks = row, blocks

    def encode(self, value: object) -> bytes:
        return bytes(value).ljust(self.row.bytes, b"\0")  # type: ignore[call-overload]

    def decode(self, payload: bytes) -> object:
        return uds.decode(self.row.id, payload)

    def __len__(self) -> int:
        return self.row.bytes * (self.blocks if self.row.kind.startswith("blocks") else 1)


def key_of(seed: bytes, pack_key: bytes = request.TEST_KEY) -> bytes:
    """What a workshop that knows the pack's key answers."""
    return _firmware.cmac(_firmware.cmac(pack_key, uds.SECURITY_LABEL), seed)


def client(tester: Tester) -> Client:
    options = dict(udsoncan.configs.default_client_config)
    options["data_identifiers"] = {
        row.id: Numbers(row, tester.rig.blocks) for row in uds.identifiers().values()
    }
    options["security_algo"] = lambda level, seed, params: key_of(seed)
    options["request_timeout"] = 60
    options["use_server_timing"] = False
    options["p2_timeout"] = options["p2_star_timeout"] = 30
    return Client(tester, config=options)


def unlocked(tester: Tester) -> Client:
    made = client(tester)
    made.change_session(3)
    made.unlock_security_access(uds.SECURITY_LEVEL)
    return made


def restart(rig: Rig, cause: int = 3) -> None:
    """The firmware is reset; its memory stays."""
    rig.firmware = _firmware.Firmware(rig.config, rig.now_us, cause, rig.firmware.nvm)
