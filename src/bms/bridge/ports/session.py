"""One connection of a tunnel: the handshake, words in and out, never waiting."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import socket
import ssl
import time

from bms.bridge.ports.records import BYE, READY, Parser, hello, message, read_hello
from bms.protocols import Malformed

READ_MOST = 1 << 16
STRANGER_MOST = 4096
"""So much may be said before the peer is known to be itself."""


class Session:
    """Owned by who holds the lock of its tunnel. `error`: why it must end; "" while it need not."""

    def __init__(
        self,
        made: ssl.SSLSocket,
        until_s: float,
        prints: frozenset[str],
        *,
        stream: bytes,
        first: int,
        lost: int,
    ) -> None:
        self.socket, self._prints = made, prints
        self._out, self._parser = bytearray(), Parser(STRANGER_MOST)
        self._is_secret, self._wants_write, self._is_confirmed = False, False, False
        self.nonce = os.urandom(16)
        self._greeting = hello(self.nonce, stream, time.time_ns(), first, lost)
        self._until_s = until_s
        self.heard_s = self.told_s = time.monotonic()
        self.reports_s = float("-inf")
        self.stream, self.peer, self.error = b"", "", ""
        self.first = self.lost = 0
        """Of the far end, when it greeted."""
        self.last_unix_ns = 0
        self.peer_clock_s: float | None = None
        try:
            self.address = str(made.getpeername()[0])
        except OSError:
            self.address = "?"

    @property
    def waiting(self) -> int:
        """Bytes that the far end has not taken."""
        return len(self._out)

    def events(self, wants_read: bool) -> int:
        """What to wait for."""
        writes = self._wants_write or (self._is_secret and bool(self._out))
        return selectors.EVENT_READ * wants_read | selectors.EVENT_WRITE * writes

    def put(self, data: bytes) -> None:
        """For the far end, soon."""
        self._out += data

    def step(self) -> list[tuple[int, bytes]]:
        """Messages that came, the handshake having been done before."""
        if not self._is_secret and not self._shake():
            return []
        found: list[tuple[int, bytes]] = []
        try:
            for _ in range(4):
                data = self.socket.recv(READ_MOST)
                if not data:
                    self.error = "the far end hung up"
                    break
                found += self._parser.feed(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (OSError, ValueError) as error:
            self._fail(error)
        if self._parser.error:
            self.error = f"malformed {self._parser.error}"
        return found + self.flush()

    def _shake(self) -> bool:
        self._wants_write = False
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return False
        except (OSError, ValueError) as error:
            self._fail(error)
            return False
        self.peer = hashlib.sha256(self.socket.getpeercert(True) or b"").hexdigest()
        if self.peer not in self._prints:
            self.error = "a certificate that is not known here"
            return False
        self._is_secret = True
        self.put(self._greeting)
        return True

    def _fail(self, error: Exception) -> None:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        self.error = str(reason).lower().replace("_", " ")[:100] or "broken"

    def flush(self) -> list[tuple[int, bytes]]:
        """Writes what can be written. No messages."""
        try:
            while self._is_secret and self._out:
                del self._out[: self.socket.send(memoryview(self._out)[:READ_MOST].tobytes())]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (OSError, ValueError) as error:
            self._fail(error)
        return []

    def greeted(self, body: bytes) -> None:
        """HELLO: the far end's number is said back."""
        found = read_hello(body)
        if isinstance(found, Malformed) or self.stream:
            self.error = "malformed hello"
            return
        self.stream, self.first, self.lost = found.stream, found.first, found.lost
        self.peer_clock_s = round(1e-9 * (found.unix_ns - time.time_ns()), 3)
        self.put(message(READY, found.nonce))
        self.flush()

    def confirmed(self, body: bytes) -> bool:
        """READY: whether our number came back, once. Else it is a recording of another day."""
        if body != self.nonce or not self.stream or self._is_confirmed:
            self.error = "a replayed session"
            return False
        self._is_confirmed = True
        self._parser.allow()
        return True

    def end(self) -> None:
        """BYE, or a word out of place."""
        self.error = "the far end ended" if self._is_confirmed else "a word out of place"

    def is_late(self, now_s: float, silent_s: float | None) -> bool:
        """Whether its time for the handshake is over, or it fell silent."""
        return now_s > self._until_s if silent_s is None else now_s - self.heard_s > silent_s

    def goodbye(self) -> None:
        """The last word."""
        if self._is_confirmed:
            self.put(message(BYE))
            self.flush()

    def close(self) -> None:
        """Ends it without waiting for an answer."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
