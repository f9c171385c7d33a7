"""`bms emulate` and `bms ecu` as real processes, and what they say of themselves."""

from __future__ import annotations

import functools
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRIES = 3
WAIT_S = 20.0  # generous: tests assert order and counts, never latency


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Process:
    """A command with --status-json and --control; `facts` is what its last line said."""

    def __init__(self, *command: object) -> None:
        self.seen: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.late_ticks: int | None = None  # before it was stopped by the test
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._asked = 0
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "bms.cli", *map(str, command), "--status-json", "--control"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._lines.put(json.loads(line))

    def _take(self, timeout_s: float) -> bool:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return False
        self.seen.append(line)
        self.facts |= line
        return True

    def wait(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Until a line satisfies `holds`; that line."""
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            if self._take(0.1) and holds(self.seen[-1]):
                return self.seen[-1]
            if self.popen.poll() is not None and self._lines.empty():
                break
        raise AssertionError(f"never saw {what}; it said {self.seen[-6:]}\n{self.errors()}")

    def stand_still(self) -> None:
        """Until it is sent SIGCONT; late from here on is what the test wants."""
        self.late_ticks = int(self.facts["late_ticks"])
        self.popen.send_signal(signal.SIGSTOP)

    def was_late(self) -> bool:
        """Whether this computer did not give it its time (bms.realtime.status.LATE_S), by all that
        it has told: a test need not have listened to it."""
        while self._take(0.1):
            pass
        late_ticks = self.facts.get("late_ticks", 0) if self.late_ticks is None else self.late_ticks
        return bool(late_ticks)

    def ready(self) -> dict[str, Any]:
        return self.wait("ready", lambda x: x["event"] == "ready")

    def state(self, name: str) -> dict[str, Any]:
        """Until a status says that the BMS is in this state."""
        return self.wait(name, lambda x: x["event"] == "status" and x["state"] == name)

    def ask(self, **request: Any) -> dict[str, Any]:
        """A request of --control and its reply."""
        self._asked += 1
        self.say(json.dumps({"id": self._asked, **request}))
        return self.wait(
            f"reply to {request}", lambda x: x["event"] == "reply" and x["id"] == self._asked
        )

    def say(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def errors(self) -> str:
        if self.popen.poll() is None:
            return ""
        assert self.popen.stderr is not None
        return self.popen.stderr.read()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(WAIT_S)

    def end(self, number: int = signal.SIGTERM) -> int:
        """A signal, and the exit code after it; everything it said is in `seen`."""
        self.popen.send_signal(number)
        code = self.popen.wait(WAIT_S)
        while self._take(0.2):
            pass
        return code

    def close(self) -> None:
        if self.popen.poll() is None:
            self.kill()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream:
                stream.close()


class Bench:
    """A pack and a firmware that find each other over a pty and a socketcand bus."""

    def __init__(self, folder: Path, *emulate: object, ecu: tuple[object, ...] = ()) -> None:
        self.link, self.port = folder / "afe", free_port()
        self.bus = f"socketcand:127.0.0.1:{self.port}/can0"
        self.for_emulate = (
            "emulate", "bench_16s1p", "--link", self.link,
            "--can", f"socketcand-server:127.0.0.1:{self.port}/can0", *emulate,
        )  # fmt: skip
        self.for_ecu = ("ecu", "--afe", self.link, "--can", self.bus, *ecu)
        self.processes: list[Process] = []

    def emulate(self) -> Process:
        return self._start(self.for_emulate)

    def ecu(self) -> Process:
        return self._start(self.for_ecu)

    def _start(self, command: tuple[object, ...]) -> Process:
        self.processes.append(Process(*command))
        return self.processes[-1]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in self.processes:
            process.close()
        if kind is AssertionError and any(process.was_late() for process in self.processes):
            raise Late


class Late(Exception):
    """What failed says nothing: a process did not keep real time."""


def in_real_time(test: Callable[..., None]) -> Callable[..., None]:
    """The test, begun anew in another folder where it failed on a computer that stood still;
    skipped where it never kept real time."""

    @functools.wraps(test)
    def run(tmp_path: Path, **fixtures: Any) -> None:
        for k in range(TRIES):
            folder = tmp_path / f"try{k}"
            folder.mkdir()
            try:
                return test(tmp_path=folder, **fixtures)
            except Late:
                continue
        pytest.skip(f"not run: this computer did not keep real time in {TRIES} tries")

    return run
