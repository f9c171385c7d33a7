"""The bus of a device on a bench: a thread that listens, asks, and keeps what was said.

Times are those of the host's monotonic clock when a frame was taken, in seconds since the bus was
opened. Frames, values and events are kept since `forget`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from bms_hil import polls
from bms_hil.diagnostic import Diagnostic, Frame, Wire
from bms_hil.dut import Dut

from bms import links
from bms.errors import BmsError, ConfigError, LinkError
from bms.recorder import Event

LOOK_S = 0.005
IDLE_S = 0.5  # between calls of `idle`
FRAMES_MOST = 500_000
ROUNDS = 3  # a question is lost now and then; a device that is gone answers none
FIXES = (
    "is it powered, is the adapter at its bit rate, are CAN high and low crossed, "
    "is there 120 ohm at both ends?"
)


class Bus:
    """Opens what the rig file names. LinkError, ConfigError. idle: called twice a second."""

    def __init__(self, url: str, serial: str, dut: Dut, idle: Callable[[], None]) -> None:
        self.dut, self.url, self._idle = dut, url, idle
        self.lock, self._began_s = threading.RLock(), time.monotonic()
        self.frames: list[tuple[float, int, bytes]] = []
        self.values: dict[str, list[tuple[float, Any]]] = {}
        self.events: list[Event] = []
        self.seen: Counter[int] = Counter()
        self.wish, self.clear = "standby", False
        self.failure = self.unanswered = ""  # of the link; of what is asked, ROUNDS times in a row
        self.dropped = 0
        self._answers: list[Frame] = []
        self._tester_lock = threading.RLock()
        self._ends = threading.Event()
        self.link = links.open(url) if url else None
        self.face = self._face(serial)
        uds = dut.file.uds
        self.tester = None
        if uds is not None and self.link is not None:
            self._answer_id = uds.answer_id
            wire = Wire(self._put, self._heard, time.sleep)
            is_ours = dut.file.dbc == "ours"
            self.tester = Diagnostic(wire, uds.request_id, uds.answer_id, is_ours=is_ours)
        else:
            self._answer_id = -1
        work = [self._listen] if self.link else []
        work += [self._poll] if dut.polled_s or self.face else []
        self._threads = [threading.Thread(target=w, daemon=True) for w in work]
        for thread in self._threads:
            thread.start()

    def _face(self, path: str) -> polls.SerialFace | None:
        if self.dut.file.serial is None:
            return None
        if not path:
            raise ConfigError(self.dut.path, "serial", "", "options.serial in the rig: its port")
        return polls.SerialFace(path, self.dut)

    @property
    def now_s(self) -> float:
        """Seconds since the bus was opened."""
        return time.monotonic() - self._began_s

    def forget(self) -> None:
        """Only what comes from now on is kept."""
        with self.lock:
            self.frames, self.values, self.events, self.dropped = [], {}, [], 0

    def diagnose(self) -> Diagnostic:
        """The tester, for one conversation at a time."""
        if self.tester is None:
            raise ConfigError(self.dut.path, "uds", None, "a table [uds]: the device's UDS server")
        return self.tester

    # ---- threads ----

    def _listen(self) -> None:
        assert self.link is not None
        sent_s = looked_s = 0.0
        try:
            while not self._ends.is_set():
                now_s = self.now_s
                if now_s - sent_s >= self.dut.period_s:
                    sent_s = max(sent_s + self.dut.period_s, now_s - self.dut.period_s)
                    self._ask(now_s)
                if now_s - looked_s >= IDLE_S:
                    looked_s = now_s
                    self._idle()
                frame = self.link.receive(LOOK_S)
                while frame is not None:
                    self._take(frame)
                    frame = self.link.receive(0.0)
        except BmsError as error:
            self.failure = str(error)

    def _ask(self, now_s: float) -> None:
        assert self.link is not None
        with self.lock:
            wanted = self.dut.frames(self.wish, now_s, self.clear)
        for identifier, data, is_long in wanted:
            self.link.send(links.Frame(identifier, data, extended=is_long))

    def _take(self, frame: links.Frame) -> None:
        now_s, data = self.now_s, bytes(frame.data)
        if frame.error or frame.remote:
            return
        self.seen[frame.id] += 1
        with self.lock:
            self.dut.hear(frame.id, data)
            if frame.id == self._answer_id:
                self._answers.append((frame.id, data))
            if len(self.frames) < FRAMES_MOST:
                self.frames.append((now_s, frame.id, data))
            else:
                self.dropped += 1
            values = self.dut.decode_one(frame.id, data, frame.extended)
            if values:
                self._keep(now_s, values)

    def _keep(self, now_s: float, values: Any) -> None:
        self.events += self.dut.events([(now_s, values)])
        for key, value in values.items():
            self.values.setdefault(key, []).append((now_s, value))

    def _poll(self) -> None:
        tables = [t.every_s for t in (self.dut.file.uds, self.dut.file.serial) if t]
        lost = 0
        while not self._ends.wait(min(tables)):
            for ask in self._questions():
                try:
                    values = ask()
                except (BmsError, OSError) as error:
                    lost += 1
                    self.unanswered = str(error) if lost >= ROUNDS else ""
                    continue
                lost, self.unanswered = 0, ""
                with self.lock:
                    self._keep(self.now_s, values)

    def _questions(self) -> list[Callable[[], dict[str, Any]]]:
        found: list[Callable[[], dict[str, Any]]] = []
        asks_uds = any(p.did >= 0 or p.dtc >= 0 for p in self.dut.sources().values())
        if self.tester is not None and asks_uds:
            found.append(self._ask_uds)
        if self.face is not None:
            found.append(self.face.ask)
        return found

    def _ask_uds(self) -> dict[str, Any]:
        with self._tester_lock:
            return polls.ask_uds(self.diagnose(), self.dut)

    def _put(self, identifier: int, data: bytes) -> None:
        assert self.link is not None
        self.link.send(links.Frame(identifier, data, extended=identifier > 0x7FF))

    def _heard(self) -> list[Frame]:
        with self.lock:
            found, self._answers = self._answers, []
        return found

    # ---- does it speak? ----

    def wait_speaks(self, within_s: float) -> None:
        """Until the device said something we understand. LinkError with what was expected, what
        was seen instead, and what to look at."""
        end_s = self.now_s + within_s
        while self.now_s < end_s:
            if self.dut.says.key in self.values:
                return
            time.sleep(0.02)
        wanted = self.dut.says.key
        raise LinkError(
            f"the device did not say {wanted} within {within_s:g} s on {self._places()}; "
            f"seen: {self.saw()}; {self.advice()}"
        )

    def _places(self) -> str:
        return " and ".join(p for p in (self.url, self.face.path if self.face else "") if p)

    def saw(self) -> str:
        """What was on the bus, in words."""
        if self.failure or self.unanswered:
            return self.failure or self.unanswered
        if self.link is None:
            return "no answer"
        if self.link.state != "up":
            return f"the link is {self.link.state} ({self.link.reason})"
        counters = self.link.counters
        if counters["error_frames"]:
            return f"{counters['error_frames']} error frames"
        if not self.seen:
            return "silence"
        told = ", ".join(f"{i:X} ({n} times)" for i, n in self.seen.most_common(6))
        return f"other identifiers: {told}"

    def advice(self) -> str:
        """What to look at first."""
        if self.link is not None and self.link.state != "up":
            return "to fix: the far end of this CAN URL must be there and free (`bms monitor URL`)"
        if self.link is not None and self.link.counters["error_frames"]:
            return f"to fix: error frames mean a wrong bit rate or wiring: {FIXES}"
        if self.unanswered:
            return f"to fix: is the device powered, and does it answer at {self._places()}?"
        if self.seen:
            return (
                "to fix: others speak, so the bus works: is the device powered, and is the DBC of "
                "dut.toml the one of this device (`bms monitor URL`)?"
            )
        return f"to fix: {FIXES}"

    def close(self) -> None:
        """Ends threads and links."""
        self._ends.set()
        for thread in self._threads:
            thread.join(3.0)
        if self.face is not None:
            self.face.close()
        if self.link is not None:
            self.link.close()
