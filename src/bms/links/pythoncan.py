"""Interfaces of python-can as links: a thread carries frames between a can.Bus and a private bus.

The interface is opened, and opened again with growing delays when it fails, in the thread, so that
the link behaves like all others: it is there at once and says in its state whether it is up.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

from bms import _links
from bms._links import Frame, Link

POLL_S = 0.02
DELAY_FIRST_S, DELAY_LAST_S = 0.05, 5.0
BATCH = 256
_numbers = itertools.count(1)


def to_message(frame: Frame) -> Any:
    """A can.Message of a frame."""
    import can

    return can.Message(
        arbitration_id=frame.id,
        is_extended_id=frame.extended,
        is_remote_frame=frame.remote,
        is_fd=frame.fd,
        bitrate_switch=frame.brs,
        dlc=frame.length,
        data=None if frame.remote else frame.data,
    )


def from_message(message: Any) -> Frame | None:
    """A frame of a can.Message; None for one that cannot be."""
    try:
        return Frame(
            message.arbitration_id,
            b"" if message.is_remote_frame else bytes(message.data),
            extended=message.is_extended_id and not message.is_error_frame,
            remote=message.is_remote_frame,
            fd=message.is_fd,
            brs=message.bitrate_switch and message.is_fd,
            error=message.is_error_frame,
            length=message.dlc if message.is_remote_frame else None,
        )
    except (ValueError, OverflowError, TypeError):
        return None


class Pump:
    """The two threads behind such a link: one reads the interface, one writes it."""

    def __init__(self, outer: Link, private: str, interface: str, settings: Mapping[str, Any]):
        self.outer = outer
        self.inner = Link("inproc", name=private, options=_links.FD, url=outer.url)
        self.interface, self.settings = interface, dict(settings)
        self.stopping = threading.Event()
        self.bus: Any = None
        self.impossible = 0  # messages of python-can that are no frames, and frames it refused
        self.threads = [
            threading.Thread(target=work, name=f"{outer.url} {work.__name__}", daemon=True)
            for work in (self._read, self._write)
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Ends both threads and shuts the interface."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.inner.close()

    def _read(self) -> None:
        import can

        delay_s = DELAY_FIRST_S
        while not self.stopping.is_set():
            try:
                bus = can.Bus(interface=self.interface, **self.settings)
            except Exception as error:  # a driver may raise anything: it is a reason, not our end
                self._down(error)
                self.stopping.wait(delay_s)
                delay_s = min(2 * delay_s, DELAY_LAST_S)
                continue
            self.bus = bus
            self.outer.set_state("up")
            delay_s = DELAY_FIRST_S
            try:
                self._read_until_it_fails(bus)
            except Exception as error:
                self._down(error)
            self.bus = None
            try:
                bus.shutdown()
            except Exception as error:
                self._down(error)

    def _read_until_it_fails(self, bus: Any) -> None:
        while not self.stopping.is_set() and self.bus is bus:
            message = bus.recv(POLL_S)
            if message is None:
                continue
            frame = from_message(message)
            if frame is None:
                self.impossible += 1
            else:
                self.inner.send(frame)

    def _write(self) -> None:
        while not self.stopping.is_set():
            frame = self.inner.receive(POLL_S)
            bus = self.bus
            if frame is None or bus is None:
                continue
            try:
                bus.send(to_message(frame))
            except (ValueError, TypeError):
                self.impossible += 1
            except Exception as error:
                self._down(error)
                self.bus = None  # the reader opens it again
                time.sleep(POLL_S)

    def _down(self, error: BaseException) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        self.outer.set_state("waiting", text[:150])


def attach(url: str, interface: str, settings: Mapping[str, Any], options: int) -> Link:
    """A link whose other end is a python-can interface opened with these settings."""
    private = f"/{next(_numbers)}"  # no name that a URL could have
    outer = Link("python", name=private, options=options, url=url)
    outer.companion = Pump(outer, private, interface, settings)
    return outer
