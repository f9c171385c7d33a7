"""A rig: the pack and the firmware as two processes in real time, seen over their bus.

`bms emulate` and `bms ecu` are started, watched and ended with the window. If one of them dies, the
message says which, with its last words; the window stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from bms_gui.feeds.live import LiveFeed
from bms_gui.snapshot import Injected, Snapshot, Status

from bms.errors import ConfigError

LINES_A_PUMP = 200
LAST_WORDS = 3
RIGS = ("realtime",)
OFFERS = frozenset({"pause", "step", "seek", "loop", "speed", "transmit", "record", "request",
                    "inject", "withdraw", "restart"})  # fmt: skip


class Side:
    """One of the two processes. Its JSON lines are read by a thread of its own."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self.words: deque[str] = deque(maxlen=LAST_WORDS)
        self.late_ticks = 0  # that did not keep real time, as it told last
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bms.cli", *arguments, "--status-json", "--control"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        for target in (self._read, self._listen):
            threading.Thread(target=target, name=f"rig-{name}", daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, dict):
                self._lines.put(told)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.strip():
                self.words.append(line.strip()[:300])

    def told(self) -> list[dict[str, Any]]:
        """What it has said since the last call, at most so much at once."""
        found: list[dict[str, Any]] = []
        while len(found) < LINES_A_PUMP:
            try:
                found.append(self._lines.get_nowait())
            except queue.Empty:
                break
            self.late_ticks = int(found[-1].get("late_ticks", self.late_ticks))
        return found

    def ask(self, request: dict[str, Any]) -> None:
        """A line to its --control; nothing if it is gone."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError, ValueError):
            pass

    @property
    def death(self) -> str:
        """Why it is gone; "" while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        last = " ".join(self.words) or "it said nothing"
        return f"`bms {self.name}` ended (code {code}): {last}"

    def close(self) -> None:
        """Asks it to end, and makes it if it does not."""
        self.ask({"quit": True})
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(2.0)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError, OSError, ValueError):
                    pipe.close()


class RigFeed:
    """rig: "realtime". pack, scenario: as of `bms emulate`."""

    def __init__(
        self, rig: str = "realtime", pack: str = "bench_16s1p", scenario: str = "drive"
    ) -> None:
        if rig not in RIGS:
            raise ConfigError("option", "--rig", rig, ", ".join(RIGS))
        self.pack, self.scenario = pack, scenario
        self._begin()

    def _begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bms-rig-")
        self.emulate = Side("emulate", [
            "emulate", self.pack, "--scenario", self.scenario,
            "--can", "socketcand-server:127.0.0.1:0/can0",
            "--link", str(Path(self._folder.name) / "afe"),
        ])  # fmt: skip
        self.ecu: Side | None = None
        self.live: LiveFeed | None = None
        self._faults: dict[int, Injected] = {}
        self._asked: dict[int, dict[str, Any]] = {}
        self._next_id = 0
        self._state = ""

    def pump(self) -> bool:
        """Takes what both processes and the bus have told."""
        for told in self.emulate.told():
            if told.get("event") == "ready":
                self._connect(told)
            elif told.get("event") == "reply":
                self._replied(told)
            elif told.get("event") == "status":
                self._state = str(told.get("phase", ""))
        if self.ecu is not None:
            self.ecu.told()
        if self.live is not None:
            self.live.pump()
        return True

    @property
    def late_ticks(self) -> int:
        """How often this computer kept one of the processes waiting too long for a verdict on it
        (bms.realtime.status.LATE_S), as far as they have told."""
        return sum(side.late_ticks for side in (self.emulate, self.ecu) if side is not None)

    def _connect(self, ready: dict[str, Any]) -> None:
        url = f"socketcand:{ready['can'][0]['place']}/can0"
        self.ecu = Side("ecu", [
            "ecu", "--afe", str(Path(self._folder.name) / "afe"), "--can", url,
            "--nvm", str(Path(self._folder.name) / "nvm"),
        ])  # fmt: skip
        self.live = LiveFeed(url)

    def _replied(self, told: dict[str, Any]) -> None:
        asked = self._asked.pop(int(told.get("id") or -1), None)
        if asked is None or self.live is None:
            return
        if not told.get("ok"):
            self.live.say(f"The rig refused: {told.get('error')}")
        elif "inject" in asked:
            how = asked["inject"]
            handle = int(told.get("handle", len(self._faults)))
            now_s = self.live.snapshot().time_s
            value = float("nan") if how["value"] is None else float(how["value"])
            on_s = now_s + how["after_s"]
            off_s = float("inf") if how["for_s"] is None else on_s + how["for_s"]
            self._faults[handle] = Injected(
                handle, how["id"], how["index"], value, "armed", on_s, off_s
            )
        elif "withdraw" in asked:
            old = self._faults.get(asked["withdraw"])
            if old is not None:
                now_s = self.live.snapshot().time_s
                self._faults[old.handle] = Injected(
                    old.handle, old.id, old.index, old.value, "over", old.on_s, now_s
                )

    def _injected(self, now_s: float) -> tuple[Injected, ...]:
        found = []
        for f in self._faults.values():
            state = "armed" if now_s < f.on_s else "active" if now_s < f.off_s else "over"
            found.append(Injected(f.handle, f.id, f.index, f.value, state, f.on_s, f.off_s))
        return tuple(found)

    def snapshot(self) -> Snapshot:
        """As it is now."""
        dead = [side.death for side in (self.emulate, self.ecu) if side is not None and side.death]
        if self.live is None:
            words = dead[0] if dead else "Starting the pack and the firmware as processes."
            return Snapshot(
                "rig", "live", status=Status("lost" if dead else "waiting", words),
                offers=frozenset({"restart"}),
            )  # fmt: skip
        shown = self.live.snapshot()
        status = shown.status
        if self.late_ticks:
            late = f"{self.late_ticks} ticks late, this computer was busy"
            status = replace(status, detail=f"{status.detail}, {late}")
        if dead:
            status = Status("lost", " ".join(dead), 0.0, 1.0, status.recording)
        return replace(
            shown, title=f"{self.pack} in real time", status=status, offers=OFFERS,
            injected=self._injected(shown.time_s),
        )  # fmt: skip

    def ask(self, word: str, *arguments: Any) -> None:
        """See OFFERS."""
        if word == "restart":
            self.close()
            self._begin()
        elif word == "request":
            self._tell({"request": arguments[0]})
        elif word == "inject":
            names = ("id", "index", "value", "after_s", "ramp_s", "for_s")
            self._tell({"inject": dict(zip(names, arguments, strict=True))})
        elif word == "withdraw":
            self._tell({"withdraw": arguments[0]})
        elif self.live is not None:
            self.live.ask(word, *arguments)

    def _tell(self, request: dict[str, Any]) -> None:
        self._next_id += 1
        self._asked[self._next_id] = request
        self.emulate.ask({"id": self._next_id, **request})

    def close(self) -> None:
        """Ends both processes."""
        if self.live is not None:
            self.live.close()
        for side in (self.ecu, self.emulate):
            if side is not None:
                side.close()
        self._folder.cleanup()
