"""The service around a bridge: signals, control socket, metrics, log lines, systemd.

SIGHUP or `reload` reads the file again, and a file that is wrong changes nothing. SIGTERM and
SIGINT end it: what waits is sent first, for at most `service.drain_s`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import msgspec

from bms.bridge.config import Plan, load
from bms.bridge.control import ControlServer, socket_path
from bms.bridge.daemon import Bridge
from bms.bridge.metrics import MetricsServer
from bms.bridge.ports.base import CLOCK
from bms.errors import BmsError

EVERY_S = 0.2
STUCK = 1
_encode = msgspec.json.Encoder().encode


def notify(*lines: str) -> bool:
    """Tell systemd; True if there is one that listens."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return False
    target = "\0" + where[1:] if where.startswith("@") else where
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
        out.sendto("\n".join(lines).encode(), target)
        return True
    return False


class Service:
    """Runs a bridge until it is told to end. `reread` makes a plan of the file again."""

    def __init__(
        self, plan: Plan, reread: Callable[[], Plan] | None = None, out: TextIO = sys.stdout
    ):
        self._reread = reread or (lambda: load(plan.path))
        self._out = out
        self._lock = threading.Lock()
        self._end, self._again = threading.Event(), threading.Event()
        self._states: dict[str, tuple[str, str]] = {}
        self._was_armed = False
        self.bridge = Bridge(plan)

    def say(self, event: str, **more: Any) -> None:
        """One JSON line of the log."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError, ValueError):  # nobody reads the log: that is no reason
            print(
                _encode({"time": now, "event": event, **more}).decode(), file=self._out, flush=True
            )

    def serve(self, seconds: float | None = None) -> int:
        """Until SIGTERM, SIGINT, `stop` or the end of `seconds`; the exit code."""
        plan = self.bridge.plan
        until_s = None if seconds is None else time.monotonic() + seconds
        with self._signals(), contextlib.ExitStack() as stack:
            stack.callback(self._finish)
            control = stack.enter_context(ControlServer(socket_path(plan), self.answer))
            metrics = plan.spec.service.metrics
            if metrics:
                stack.enter_context(MetricsServer(plan, self.status))
            for warning in plan.warnings:
                self.say("warning", text=warning)
            self.say("started", file=str(plan.path), control=str(control.path), metrics=metrics,
                     seed=plan.spec.seed, links=plan.names, rules=len(plan.spec.rule))  # fmt: skip
            notify("READY=1", f"STATUS={len(plan.names)} links")
            while not self._end.wait(EVERY_S):
                if until_s is not None and time.monotonic() >= until_s:
                    break
                if self._again.is_set():
                    self._again.clear()
                    self.reload()
                self._look()
                with self._lock:  # while it is exchanged it stands
                    is_alive = self.bridge.is_alive
                if not is_alive:
                    self.say("stuck")
                    return STUCK
                notify("WATCHDOG=1")
        return 0

    def stop(self) -> None:
        """Make `serve` return."""
        self._end.set()

    def status(self) -> dict[str, Any]:
        """Of the bridge, from any thread."""
        with self._lock:
            return self.bridge.status()

    def reload(self) -> str:
        """Read the file again; why it was refused, or nothing."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        refused = ""
        try:
            plan = self._reread()
            with self._lock:
                self.bridge.reload(plan)
        except BmsError as error:
            refused = str(error)
            self.say("reload refused", reason=refused)
        else:
            self.say("reloaded", links=plan.names, rules=len(plan.spec.rule))
        notify("READY=1")
        return refused

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the control socket."""
        what = request.get("do")
        if what == "status":
            return {"ok": True, "status": self.status()}
        if what == "reload":
            refused = self.reload()
            return {"ok": not refused, "error": refused}
        if what == "arm":
            seconds = request.get("seconds", 0.0)
            if not isinstance(seconds, int | float) or not 0.0 <= seconds <= 1e6:
                return {"ok": False, "error": "seconds: a number from 0 to 1000000"}
            with self._lock:
                granted = self.bridge.arm(float(seconds))
            self.say("armed" if granted else "disarmed", seconds=granted)
            self._was_armed = granted > 0.0
            return {"ok": True, "seconds": granted}
        if what == "stop":
            self.stop()
            return {"ok": True}
        return {"ok": False, "error": "do: status, reload, arm or stop"}

    def _look(self) -> None:
        """Tell what has changed since the last look."""
        with self._lock:
            links = {name: self.bridge.link_state(name) for name in self.bridge.plan.names}
            armed = self.bridge.core.armed_s > 0.0
        for name, (state, reason) in links.items():
            if self._states.get(name, ("", ""))[0] != state:
                self.say("link", link=name, state=state, reason=reason)
        self._states = links
        for saying in self.bridge.sayings():
            self.say(**saying)
        stepped_s = CLOCK.look()
        if stepped_s:
            self.say("clock set", seconds=round(stepped_s, 3))
        if self._was_armed and not armed:
            self.say("disarmed", seconds=0.0)
            self._was_armed = False

    def _finish(self) -> None:
        notify("STOPPING=1")
        with self._lock:
            last = self.bridge.status()
            drained = self.bridge.close(self.bridge.plan.spec.service.drain_s)
        counts = {name: {key: link[key] for key in ("received", "sent", "dropped")}
                  for name, link in last["links"].items()}  # fmt: skip
        self.say("ended", drained=drained, links=counts)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ours while it runs; not from another thread than the main one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on(number: int, _frame: FrameType | None) -> None:
            (self._again if number == signal.SIGHUP else self._end).set()

        numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def plan_of(path: Path, dry_run: bool) -> Plan:
    """The plan of a file; in a dry run every link only listens."""
    plan = load(path)
    if not dry_run:
        return plan
    quiet = {
        name: msgspec.structs.replace(link, listen_only=True)
        for name, link in plan.spec.link.items()
    }
    return msgspec.structs.replace(plan, spec=msgspec.structs.replace(plan.spec, link=quiet))
