"""Faces of a pack at work: they listen to the BMS on its bus and speak to others in their words.

A protocol is a face if it has `answer(view, now_s, request)` and `frame_size` (serial: it is asked)
or `frames(view, now_s)` and `PERIOD_S` (CAN: it tells). What it knows is a PackView, so faces can
stand anywhere on the bus: beside the emulated pack, or on a bench beside a real one.

Nothing here switches anything. A face whose bus is silent is silent.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import tty
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from bms import links, protocols
from bms.errors import ConfigError, LinkError
from bms.protocols import CanFrame, Malformed
from bms.protocols.packview import PackView

BYTES_AT_ONCE = 4096
"""A flood on one port does not hold up the others for longer than this takes."""

REOPEN_S = 1.0


def names() -> tuple[str, ...]:
    """Every face there is; those with dialects once for each."""
    found: list[str] = []
    for info in pkgutil.iter_modules(protocols.__path__):
        module = import_module(f"bms.protocols.{info.name}")
        if hasattr(module, "DIALECTS"):
            found += [f"{info.name}.{dialect}" for dialect in module.DIALECTS]
        elif hasattr(module, "answer") or hasattr(module, "frames"):
            found.append(info.name)
    return tuple(found)


@dataclass(frozen=True)
class Wanted:
    """One face as it was asked for: `jbd=pty`, `inverter.victron=socketcan:can1`."""

    name: str
    where: str
    module: ModuleType
    dialect: Any = None

    @property
    def is_serial(self) -> bool:
        """Whether it is asked over a serial line; else it tells on a CAN bus."""
        return bool(self.module.MEDIUM == "serial")


def parse(text: str) -> Wanted:
    """What `FACE=WHERE` means; ConfigError for an unknown face or no place."""
    name, equals, where = text.partition("=")
    if name not in names():
        raise ConfigError("face", "name", name, "one of " + ", ".join(names()))
    if not equals or not where:
        raise ConfigError("face", name, text, f"{name}=WHERE, a serial port, pty or CAN URL")
    base, _, dialect = name.partition(".")
    module = import_module(f"bms.protocols.{base}")
    return Wanted(name, where, module, module.DIALECTS[dialect] if dialect else None)


class Port(Protocol):
    """A serial line that never blocks. Both raise OSError when it is gone."""

    name: str

    def read(self) -> bytes:
        """What has come, at most BYTES_AT_ONCE."""

    def write(self, data: bytes) -> None:
        """Sends; what finds no room within a reply's length is lost with the line."""

    def close(self) -> None:
        """Ends it."""


class Pty:
    """A pseudo-terminal; `name` is the end to give to a client, `link` a path that stays."""

    def __init__(self, link: str = "") -> None:
        self._here, self._there = os.openpty()  # ours stays open, so a client may come and go
        tty.setraw(self._there)
        os.set_blocking(self._here, False)
        self.name = os.ttyname(self._there)
        self.link = Path(link) if link else None
        if self.link is not None:
            _point(self.link, self.name)

    def read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._here, BYTES_AT_ONCE)
        return b""

    def write(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._here, data)

    def close(self) -> None:
        os.close(self._here)
        os.close(self._there)
        if self.link is not None and self.link.is_symlink():
            self.link.unlink()


def _point(link: Path, name: str) -> None:
    """A link that stays where it is while the terminal behind it changes."""
    if link.exists() and not link.is_symlink():
        raise ConfigError("face", "pty", str(link), "a path that is free, or an old link")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(name)
    except OSError as error:
        raise LinkError(f"{link}: {error.strerror}") from None


class Device:
    """A real serial port."""

    def __init__(self, path: str, baud: int) -> None:
        import serial

        self.name = path
        try:
            self._port = serial.Serial(path, baud, timeout=0, write_timeout=0)
        except (serial.SerialException, ValueError) as error:
            raise LinkError(f"{path}: {error}") from None

    def read(self) -> bytes:
        return bytes(self._port.read(BYTES_AT_ONCE))

    def write(self, data: bytes) -> None:
        import serial

        with contextlib.suppress(serial.SerialTimeoutException):
            self._port.write(data)

    def close(self) -> None:
        self._port.close()


@dataclass
class SerialFace:
    """Answers one serial line. Any bytes may come; what is no request is counted."""

    wanted: Wanted
    port: Port | None = None
    waiting: bytearray = field(default_factory=bytearray)
    counts: Counter[str] = field(default_factory=Counter)
    reopen_s: float = 0.0

    def open(self) -> None:
        """ConfigError or LinkError when the place cannot be had."""
        where = self.wanted.where
        if where == "pty" or where.startswith("pty:"):
            self.port = Pty(where[4:])
            return
        path, _, baud = where.partition("@")
        if baud and not baud.isdecimal():
            raise ConfigError("face", self.wanted.name, where, "DEVICE or DEVICE@BAUD")
        self.port = Device(path, int(baud) if baud else self.wanted.module.BAUD)

    def step(self, view: PackView, now_s: float) -> None:
        """Answers what has been asked since the last time."""
        if self.port is None:
            self._reopen(now_s)
            return
        try:
            self.waiting += self.port.read()
            reply = self._answers(view, now_s)
            if reply:
                self.port.write(reply)
        except OSError:
            self.counts["lost"] += 1
            self.close()
            self.reopen_s = now_s + REOPEN_S

    def _reopen(self, now_s: float) -> None:
        if now_s < self.reopen_s:
            return
        self.reopen_s = now_s + REOPEN_S
        with contextlib.suppress(LinkError):
            self.open()
            self.counts["reopened"] += 1

    def _answers(self, view: PackView, now_s: float) -> bytes:
        module, replies = self.wanted.module, b""
        while self.waiting:
            size = module.frame_size(self.waiting)
            if size == 0 or size > len(self.waiting):
                break
            if size < 0:
                self.counts["noise"] += 1
                del self.waiting[0]
                continue
            message = module.decode(bytes(self.waiting[:size]))
            if isinstance(message, Malformed):  # its start may have been a lie: look one byte on
                self.counts[message.reason] += 1
                del self.waiting[0]
                continue
            del self.waiting[:size]
            reply = module.answer(view, now_s, message)
            self.counts["answered" if reply else "unanswered"] += 1
            replies += reply
        if len(self.waiting) > BYTES_AT_ONCE:
            self.counts["overrun"] += 1
            self.waiting.clear()
        return replies

    def close(self) -> None:
        """Ends it; `step` will open it again."""
        if self.port is not None:
            with contextlib.suppress(OSError):
                self.port.close()
        self.port = None


@dataclass
class CanFace:
    """Tells on one CAN bus, once a period."""

    wanted: Wanted
    link: Any = None
    next_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def open(self) -> None:
        """ConfigError or LinkError when the bus cannot be had."""
        self.link = links.open(self.wanted.where)

    def step(self, view: PackView, now_s: float) -> None:
        """Tells when it is time, and reads what others say so that nothing piles up."""
        while (frame := self.link.receive(0.0)) is not None:
            wire = CanFrame(frame.id, bytes(frame.data), frame.extended)
            message = self.wanted.module.decode(wire)
            self.counts["passed over" if isinstance(message, Malformed) else "heard"] += 1
        if now_s < self.next_s:
            return
        self.next_s = now_s + self.wanted.module.PERIOD_S
        settings = () if self.wanted.dialect is None else (self.wanted.dialect,)
        told = self.wanted.module.frames(view, now_s, *settings)
        for wire in told:
            self.link.send(links.Frame(wire.can_id, wire.data, extended=wire.extended))
        self.counts["told" if told else "silent"] += max(1, len(told))

    def close(self) -> None:
        """Ends it."""
        if self.link is not None:
            self.link.close()
        self.link = None


Face = SerialFace | CanFace


def opened(wanted: Iterable[Wanted]) -> list[Face]:
    """The faces, open. If one cannot be had, those before it are closed again."""
    faces: list[Face] = []
    try:
        for each in wanted:
            face: Face = SerialFace(each) if each.is_serial else CanFace(each)
            face.open()
            faces.append(face)
    except Exception:
        for face in faces:
            face.close()
        raise
    return faces


def serve(
    bus: Any,
    faces: list[Face],
    clock: Callable[[], float],
    is_over: Callable[[float], bool],
    wait_s: float = 0.005,
) -> PackView:
    """Listens to `bus` (an open link) and serves the faces until `is_over(now_s)`.

    A serial host waits tens of milliseconds at least, so answering every few is enough.
    """
    view = PackView()
    while not is_over(now_s := clock()):
        frame = bus.receive(wait_s)
        for _ in range(2000):  # a busy bus does not keep the faces waiting
            if frame is None:
                break
            if not (frame.extended or frame.remote or frame.error):
                view.hear(now_s, frame.id, bytes(frame.data))
            frame = bus.receive(0.0)
        for face in faces:
            face.step(view, now_s)
    return view
