"""cannelloni over TCP: one peer, frames in both directions, no authentication.

Both sides say `CANNELLONIv1`, then frames follow: identifier with Linux' flag bits (u32, most
significant byte first), length (bit 7: CAN FD, then a byte of flags), data; remote frames carry
none. A stream in which a frame cannot be is cut: nobody knows where the next one begins.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable

import msgspec

from bms.bridge.ports.base import BATCH, POLL_S, Backoff, Batch, Context, Port, room_for
from bms.errors import LinkError
from bms.links import Link
from bms.links.url import resolve
from bms.protocols import Malformed

GREETING = b"CANNELLONIv1"
GREETING_S = 5.0
EXTENDED, REMOTE, ERROR = 1 << 31, 1 << 30, 1 << 29
FD_LENGTHS = frozenset((*range(9), 12, 16, 20, 24, 32, 48, 64))
READ_MOST = 1 << 14
OUT_S = 1.0
"""A peer that takes nothing for so long is cut off."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


OPTIONS = {"cannelloni": Options, "cannelloni-server": Options}


def check(context: Context) -> list[str]:
    """Nothing that config.py does not see."""
    return []


def decode(stream: bytes | bytearray) -> tuple[list[tuple[int, int, int, bytes]], int] | Malformed:
    """Frames (id, flags, length, data) at the beginning of a stream, and the bytes they are."""
    found: list[tuple[int, int, int, bytes]] = []
    at = 0
    while len(stream) - at >= 5 and len(found) < BATCH:
        word, size = int.from_bytes(stream[at : at + 4], "big"), stream[at + 4]
        is_fd, length, head = size >= 0x80, size & 0x7F, 5 + (size >= 0x80)
        is_remote = bool(word & REMOTE)
        if length > 64 or (length > 8 and not is_fd) or (is_fd and (is_remote or word & ERROR)):
            return Malformed("length")
        if is_fd and length not in FD_LENGTHS:
            return Malformed("length")
        number = word & 0x1FFFFFFF
        if not word & (EXTENDED | ERROR) and number > 0x7FF:
            return Malformed("id")
        carried = 0 if is_remote else length
        if len(stream) - at < head + carried:
            break
        flags = bool(word & EXTENDED) | is_remote << 1 | is_fd << 2
        if is_fd:
            flags |= (stream[at + 5] & 1) << 3
        if word & ERROR:
            flags, number = 16, 0
        found.append((number, flags, length, bytes(stream[at + head : at + head + carried])))
        at += head + carried
    return found, at


def encode(frames: Batch) -> bytes:
    """The bytes of frames."""
    parts = []
    for frame in frames:
        flags, length = int(frame["flags"]), int(frame["length"])
        word = int(frame["id"]) | (EXTENDED if flags & 1 else 0) | (REMOTE if flags & 2 else 0)
        word |= ERROR if flags & 16 else 0
        is_fd = bool(flags & 4)
        parts.append(struct.pack(">IB", word, length | 0x80 * is_fd))
        if is_fd:
            parts.append(bytes([flags >> 3 & 1]))
        if not flags & 2:
            parts.append(frame["data"][:length].tobytes())
    return b"".join(parts)


class Cannelloni(Port):
    """Client or server."""

    COUNTS = ("sessions", "malformed", "turned_away", "frames_unsent", "impossible", "failures")

    def __init__(self, context: Context, outer: Link, inner: Link):
        super().__init__(context, outer, inner)
        self._address = (resolve(context.place.text, context.place.host), context.place.port)
        self._peer: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._backoff = Backoff()
        if context.place.kind == "cannelloni-server":
            family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
            try:
                self._listener = socket.create_server(self._address, family=family, backlog=16)
            except OSError as error:
                raise LinkError(f"{context.place.text}: {error.strerror}") from None
            self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1] if self._listener else context.place.port
        self.down("no peer yet")

    def works(self) -> tuple[Callable[[], None], ...]:
        return self._serve, self._write

    def finish(self) -> None:
        for each in (self._peer, self._listener):
            if each is not None:
                each.close()

    def _serve(self) -> None:
        while not self.stopping.is_set():
            peer = self._meet()
            if peer is None:
                continue
            with peer:
                try:
                    self._talk(peer)
                except OSError as error:
                    self.down(error.strerror or error)
                finally:
                    self._peer = None
            self.down(self.outer.reason or "the far end hung up")
            self.stopping.wait(self._backoff.pause_s() if self._listener is None else 0.0)

    def _meet(self) -> socket.socket | None:
        try:
            if self._listener is not None:
                with selectors.DefaultSelector() as waiting:
                    waiting.register(self._listener, selectors.EVENT_READ)
                    if not waiting.select(POLL_S):
                        return None
                peer, _ = self._listener.accept()
            else:
                peer = socket.create_connection(self._address, 2.0)
        except OSError as error:
            self.down(error.strerror or error)
            self.stopping.wait(self._backoff.pause_s())
            return None
        peer.settimeout(OUT_S)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return peer

    def _turn_away(self) -> None:
        """There is one peer at a time; a second one is told by the end of its connection."""
        with contextlib.suppress(OSError):
            while self._listener is not None:
                self._listener.accept()[0].close()
                self.counts["turned_away"] += 1

    def _talk(self, peer: socket.socket) -> None:
        peer.sendall(GREETING)
        waiting, until_s, is_greeted = bytearray(), time.monotonic() + GREETING_S, False
        with selectors.DefaultSelector() as ready:
            ready.register(peer, selectors.EVENT_READ)
            while not self.stopping.is_set():
                self._turn_away()
                if not self.has_room():
                    time.sleep(0.002)
                    continue
                data = peer.recv(READ_MOST) if ready.select(POLL_S) else None
                if data == b"":
                    self.down("the far end hung up")
                    return
                waiting += data or b""
                if not is_greeted:
                    is_so_far = GREETING.startswith(bytes(waiting[: len(GREETING)]))
                    if not is_so_far or time.monotonic() > until_s:
                        self.counts["malformed"] += 1
                        self.down("it does not speak cannelloni")
                        return
                    if len(waiting) < len(GREETING):
                        continue
                    del waiting[: len(GREETING)]
                    is_greeted, self._peer = True, peer
                    self.counts["sessions"] += 1
                    self._backoff.reset()
                    self.up()
                if not self._arrived(waiting):
                    return

    def _arrived(self, waiting: bytearray) -> bool:
        while waiting:
            found = decode(waiting)
            if isinstance(found, Malformed):
                self.counts["malformed"] += 1
                self.down(f"malformed {found.reason}")
                return False
            frames, used = found
            if not frames:
                break
            batch = room_for(len(frames))
            for k, (number, flags, length, data) in enumerate(frames):
                row = batch[k]
                row["id"], row["flags"], row["length"] = number, flags, length
                row["data"][: len(data)] = list(data)
            self.give(batch)
            del waiting[:used]
        return True

    def _write(self) -> None:
        batch = room_for(BATCH)
        while not self.stopping.is_set() or self.inner.pending:
            frames = self.take(batch)
            if not len(frames):
                continue
            peer = self._peer
            try:
                if peer is None:
                    raise OSError("no peer")
                peer.sendall(encode(frames))
            except OSError:
                self.counts["frames_unsent"] += len(frames)
                if peer is not None:
                    with contextlib.suppress(OSError):
                        peer.shutdown(socket.SHUT_RDWR)


PORTS = {"cannelloni": Cannelloni, "cannelloni-server": Cannelloni}
