"""The tunnel: frames between two bridges that know each other by their keys.

TLS 1.3 with a certificate on both sides; no authority is asked: a peer is one whose certificate
lies here as a file (`bms bridge keys` makes it). Each side says a number that was never used before
and hears it back before a frame counts, so what was recorded on another day opens nothing. Frames
are numbered by the sender from its start on; after a cut the receiver reports how many are missing,
and a number that comes again ends the session.

A peer that is not known gets nothing, and is logged once in `REFUSAL_EVERY_S` with how many there
were. Strangers that say nothing are cut off after `HANDSHAKE_S`; `PENDING_MOST` may be at it, then
the one that has waited longest goes.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bms.bridge.ports import keys
from bms.bridge.ports.base import BATCH, POLL_S, Backoff, Context, Port, room_for
from bms.bridge.ports.records import FRAMES, HELLO, HOPS_MASK, ORIGINS_MOST, READY, Load, read_load
from bms.bridge.ports.records import load as load_message
from bms.bridge.ports.session import Session
from bms.errors import ConfigError, LinkError
from bms.links import Link
from bms.links.url import resolve
from bms.protocols import Malformed

REFUSAL_EVERY_S = 60.0
HANDSHAKE_S = 5.0
ALIVE_EVERY_S, SILENT_S = 1.0, 5.0
PENDING_MOST = 16
OUT_MOST = 1 << 18
BACKLOG = 64


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`key` and `cert` are ours, `peers` the certificates of those who are let in."""

    key: str
    cert: str
    peers: list[str]


OPTIONS = {"tunnel": Options, "tunnel-server": Options}


def check(context: Context) -> list[str]:
    """Reads keys and certificates."""
    _context_of(context)
    return []


def _credential(context: Context, text: str) -> Path:
    """A path; a bare name may be one that systemd keeps for us (LoadCredential=)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if folder and "/" not in text and (Path(folder) / text).is_file():
        return Path(folder) / text
    return context.path(text)


def _context_of(context: Context) -> tuple[ssl.SSLContext, frozenset[str]]:
    options, key = context.options, f"link.{context.name}.options"
    if not options.peers:
        raise ConfigError(context.file, f"{key}.peers", [], "certificates of those who are let in")
    files = {part: _credential(context, getattr(options, part)) for part in ("key", "cert")}
    keys.check_private(context.file, f"{key}.key", files["key"])
    is_server = context.place.kind == "tunnel-server"
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    found.check_hostname = False
    found.verify_mode = ssl.CERT_REQUIRED
    if is_server:
        found.num_tickets = 0  # no session is taken up again
    prints = set()
    try:
        found.load_cert_chain(files["cert"], files["key"])
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            context.file, f"{key}.cert", str(files["cert"]), f"a certificate and its key ({error})"
        ) from None
    for text in options.peers:
        path = _credential(context, text)
        try:
            found.load_verify_locations(path)
            prints.add(keys.fingerprint(path))
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                context.file, f"{key}.peers", str(path), f"a certificate in PEM form ({error})"
            ) from None
    return found, frozenset(prints)


class Tunnel(Port):
    """Both ends of it. One thread owns the connections, one takes what the bridge sends."""

    COUNTS = ("sessions", "gaps", "frames_missing", "frames_lost_there", "frames_replayed",
              "frames_malformed", "frames_looped", "refused", "evicted", "frames_unsent",
              "impossible", "failures")  # fmt: skip

    def __init__(self, context: Context, outer: Link, inner: Link):
        super().__init__(context, outer, inner)
        self._tls, self._prints = _context_of(context)
        self._address = (resolve(context.place.text, context.place.host), context.place.port)
        self._is_server = context.place.kind == "tunnel-server"
        self._lock = threading.Lock()
        self._stream, self._sent = os.urandom(16), 0
        self._expected: dict[bytes, int] = {}  # streams heard -> next number; the last few
        self._lost_there: dict[bytes, int] = {}
        self._last_unix_ns = 0
        self._origins: list[bytes] = [context.origin]
        self._session: Session | None = None
        self._pending: list[Session] = []
        self._refused_since, self._refused_at = 0, -REFUSAL_EVERY_S
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener: socket.socket | None = self._listen() if self._is_server else None
        self.port = self._listener.getsockname()[1] if self._listener else context.place.port
        self._backoff, self._next_call_s = Backoff(), 0.0
        self.peer_clock_s: float | None = None
        self.down("no peer yet" if self._is_server else "not connected yet")

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            os.close(self._wake)
            raise LinkError(f"{self.context.place.text}: {error.strerror}") from None
        listener.setblocking(False)
        return listener

    def works(self) -> tuple[Callable[[], None], ...]:
        return self._serve, self._write

    def finish(self) -> None:
        """Says goodbye and lets go of the port."""
        for session in [*self._pending, *([self._session] if self._session else [])]:
            session.goodbye()
            session.close()
        if self._listener:
            self._listener.close()
        os.close(self._wake)

    # ---- connections ----

    def _serve(self) -> None:
        while not self.stopping.is_set():
            if not self._is_server and not self._pending and self._session is None:
                self._call()
            self._wait()
            with self._lock:
                self._look(time.monotonic())

    def _wait(self) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._wake, selectors.EVENT_READ)
            if self._listener:
                waiting.register(self._listener, selectors.EVENT_READ)
            with self._lock:
                sessions = [*self._pending, *([self._session] if self._session else [])]
            for session in sessions:
                events = session.events(self.has_room() or session is not self._session)
                if events:
                    waiting.register(session.socket, events)
            waiting.select(POLL_S if self.has_room() else 0.002)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _call(self) -> None:
        if time.monotonic() < self._next_call_s:
            return
        self._next_call_s = time.monotonic() + self._backoff.pause_s()
        try:
            raw = socket.create_connection(self._address, HANDSHAKE_S)
        except OSError as error:
            self.down(error.strerror or error)
            return
        self._add(raw)

    def _add(self, raw: socket.socket) -> None:
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made = self._tls.wrap_socket(
                raw, server_side=self._is_server, do_handshake_on_connect=False
            )
        except (OSError, ValueError):
            raw.close()
            return
        now_s = time.monotonic()
        while len(self._pending) >= PENDING_MOST:
            self.counts["evicted"] += 1
            self._drop(self._pending[0], "others came while it was silent")
        self._pending.append(
            Session(
                made, now_s + HANDSHAKE_S, self._prints, stream=self._stream, first=self._sent,
                lost=self.context.lost(),
            )
        )  # fmt: skip

    def _look(self, now_s: float) -> None:
        while self._listener is not None:
            try:
                raw, _ = self._listener.accept()
            except OSError:  # nobody more; or no descriptor left: they wait
                break
            self._add(raw)
        for session in list(self._pending):
            self._advance(session, now_s)
        if self._session is not None:
            self._advance(self._session, now_s)

    def _advance(self, session: Session, now_s: float) -> None:
        """One look at a session: what came, what waits, how long it is silent."""
        is_ours = session is self._session
        messages = session.step() if not is_ours or self.has_room() else session.flush()
        for kind, body in messages:
            if session.error:
                break
            if kind == HELLO:
                session.greeted(body)
            elif kind == READY and session.confirmed(body) and not is_ours:
                self._admit(session, now_s)
                is_ours = True
            elif kind == FRAMES and is_ours:
                self._arrived(session, body)
            elif kind != READY:
                session.end()
        if messages:
            session.heard_s = now_s
        if not session.error and session.is_late(now_s, SILENT_S if is_ours else None):
            session.error = "silent"
        if session.error:
            self._drop(session, session.error)
        elif is_ours and now_s - session.told_s >= ALIVE_EVERY_S:
            session.told_s = now_s
            session.put(load_message(self._sent, self.context.lost(), room_for(0), self._origins))

    def _admit(self, session: Session, now_s: float) -> None:
        self._pending.remove(session)
        before, self._session = self._session, session
        if before is not None:  # its line is dead and it has come again
            before.close()
        self._expected.setdefault(session.stream, session.first)
        self._lost_there.setdefault(session.stream, session.lost)
        self.counts["sessions"] += 1
        self.peer_clock_s = session.peer_clock_s
        session.heard_s = now_s
        self._backoff.reset()
        self.up()
        self.say("tunnel up", peer=session.peer, clock_ahead_s=session.peer_clock_s)

    def _drop(self, session: Session, why: str) -> None:
        session.close()
        if session is self._session:
            self._session = None
            self.down(why)
            self.say("tunnel down", peer=session.peer, reason=why)
            return
        if session in self._pending:
            self._pending.remove(session)
        self.counts["refused"] += 1
        self._refused_since += 1
        if not self._is_server and self._session is None:
            self.down(f"refused: {why}")
        if time.monotonic() - self._refused_at >= REFUSAL_EVERY_S:
            self.say("tunnel refused", address=session.address, reason=why,
                     count=self._refused_since)  # fmt: skip
            self._refused_at, self._refused_since = time.monotonic(), 0

    # ---- frames in ----

    def _arrived(self, session: Session, body: bytes) -> None:
        found = read_load(body)
        if isinstance(found, Malformed):
            self.counts["frames_malformed"] += 1
            session.error = f"malformed {found.reason}"
            return
        expected = self._expected[session.stream]
        if found.first < expected:
            self.counts["frames_replayed"] += found.count
            session.error = "numbers that were used before"
            return
        self._report(session, found, expected)
        self.counts["frames_malformed"] += found.wrong
        frames = found.frames
        if not len(frames):
            return
        self._last_unix_ns = session.last_unix_ns = time.time_ns()
        numbers = np.array([self._number(name) for name in found.origins] or [0], np.uint8)
        origin = numbers[found.origin_of]
        is_ours = origin == 0
        self.counts["frames_looped"] += int(np.count_nonzero(is_ours))
        frames["reserved"] = (frames["reserved"] & HOPS_MASK) | origin << 3
        self.give(frames[~is_ours])

    def _number(self, name: bytes) -> int:
        """Of an origin in our marks; 0 is this bridge itself. The last stands for all others."""
        if name not in self._origins:
            if len(self._origins) >= ORIGINS_MOST:
                return ORIGINS_MOST
            self._origins.append(name)
        return self._origins.index(name)

    def _report(self, session: Session, found: Load, expected: int) -> None:
        """Counts what is missing since the last message of this stream."""
        stream = session.stream
        missing = found.first - expected
        lost = max(0, found.lost - self._lost_there[stream])
        del self._expected[stream]  # the one heard last stands last
        self._expected[stream] = found.first + found.count
        self._lost_there[stream] = found.lost
        while len(self._expected) > 8:
            oldest = next(iter(self._expected))
            del self._expected[oldest], self._lost_there[oldest]
        if missing == 0 and lost == 0:
            return
        self.counts["frames_missing"] += missing
        self.counts["frames_lost_there"] += lost
        if missing or session.reports_s + REFUSAL_EVERY_S < time.monotonic():
            session.reports_s = time.monotonic()
            self.counts["gaps"] += 1
            self.say("tunnel gap", peer=session.peer, frames_missing=missing,
                     frames_lost_there=lost, last_unix_s=round(1e-9 * self._last_unix_ns, 6),
                     next_unix_s=round(time.time(), 6))  # fmt: skip

    # ---- frames out ----

    def _write(self) -> None:
        batch = room_for(BATCH)
        while not self.stopping.is_set() or self.inner.pending:
            with self._lock:
                session = self._session
            if session is not None and session.waiting > OUT_MOST and not self.stopping.is_set():
                time.sleep(0.001)  # the bridge's own queue says what to drop
                continue
            frames = self.take(batch)
            if not len(frames):
                continue
            with self._lock:
                first, self._sent = self._sent, self._sent + len(frames)
                session = self._session
                if session is None:
                    self.counts["frames_unsent"] += len(frames)
                else:
                    session.put(load_message(first, self.context.lost(), frames, self._origins))
                    session.told_s = time.monotonic()
                    session.flush()
                    if session.waiting or session.error:
                        os.eventfd_write(self._wake, 1)

    def details(self) -> dict[str, Any]:
        """Counters, who the peer is, how far its clock is off."""
        with self._lock:
            session = self._session
            return {
                **self.counts,
                "peer": session.peer if session else "",
                "pending": len(self._pending),
                "frames_numbered": self._sent,
                "peer_clock_ahead_s": self.peer_clock_s,
            }


PORTS = {"tunnel": Tunnel, "tunnel-server": Tunnel}
