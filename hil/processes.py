"""`bms emulate` and `bms ecu` as processes that tell and are asked in JSON lines."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from bms.errors import BmsError, LinkError
from bms.realtime.status import LATE_S

ANSWER_S = 20.0


def free_port() -> int:
    """A port of this machine nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def missed(late_ticks: int) -> str:
    """As Rig.missed, of so many ticks that were late."""
    return f"real time was missed {late_ticks} times by {LATE_S * 1e3:g} ms" if late_ticks else ""


class Process:
    """A command with --status-json and --control. `events`: every line that is neither status nor
    reply, in order; `facts`: all that was last said."""

    def __init__(self, *command: object) -> None:
        self.name = str(command[0])
        self.events: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self._replies: queue.Queue[dict[str, Any]] = queue.Queue()
        self._changed = threading.Condition()
        self._asks = threading.Lock()
        self._asked = 0
        self._errors: list[str] = []
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "bms.cli", *map(str, command), "--status-json", "--control"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._complain, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for text in self._popen.stdout:
            line = json.loads(text)
            with self._changed:
                if line["event"] == "reply":
                    self._replies.put(line)
                elif line["event"] not in ("status",):
                    self.events.append(line)
                if line["event"] in ("status", "ready", "end"):
                    self.facts |= line
                self._changed.notify_all()

    def _complain(self) -> None:
        assert self._popen.stderr is not None
        self._errors.extend(self._popen.stderr)

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def wait(self, what: str, holds: Callable[[], bool], within_s: float = ANSWER_S) -> None:
        """Until `holds`, looked at after each line. LinkError when it does not come."""
        end_s = time.monotonic() + within_s
        with self._changed:
            while not holds():
                left_s = end_s - time.monotonic()
                if left_s <= 0.0 or not self.is_alive:
                    raise LinkError(f"bms {self.name}: {what} did not come within {within_s:g} s"
                                    f"{self._last_words()}")  # fmt: skip
                self._changed.wait(min(left_s, 0.2))

    def ask(self, **request: Any) -> dict[str, Any]:
        """A request and its reply. LinkError when it is refused or does not come."""
        assert self._popen.stdin is not None
        try:
            with self._asks:
                self._asked += 1
                self._popen.stdin.write(json.dumps({"id": self._asked, **request}) + "\n")
                self._popen.stdin.flush()
                reply = self._replies.get(timeout=ANSWER_S)
        except (OSError, queue.Empty):
            raise LinkError(f"bms {self.name} does not answer{self._last_words()}") from None
        if "error" in reply:
            raise LinkError(f"bms {self.name}: {reply['error']}")
        return reply

    def late_ticks(self) -> int:
        """How often it was later than LATE_S since it began."""
        if self.is_alive:
            with contextlib.suppress(BmsError):  # of one that hangs or ended, what it last said
                self.facts |= self.ask(status=True)["status"]
        return int(self.facts.get("late_ticks", 0))

    def _last_words(self) -> str:
        words = "".join(self._errors).strip().splitlines()
        return f": {words[-1]}" if words else ""

    def end(self) -> None:
        """Asks it to end, and does not wait for it."""
        if self.is_alive:
            self._popen.terminate()

    def close(self, grace_s: float = 5.0) -> None:
        """Ends it, gently first."""
        self.end()
        if self.is_alive:
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        for thread in self._threads:
            thread.join(1.0)
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream:
                stream.close()
