"""A simulation in a process of its own, looked at while it runs."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from bms_gui import worker
from bms_gui.samples import Samples
from bms_gui.snapshot import COMMANDS, Shape, Signal, Snapshot, Status, no_frames
from bms_gui.words import choices_of

REFUSED_S = 8.0
HOUR_TICKS = 360_000
OFFERS = frozenset(COMMANDS)


class SimulatedFeed:
    """options: arguments of bms.Simulation. speed: times real time; 0 waits."""

    def __init__(self, options: dict[str, Any], speed: float = 1.0) -> None:
        self.options = options
        self.speed = speed
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, {**self.options, "speed": self.speed})
        self._process = context.Process(target=worker.main, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._samples: Samples | None = None
        self._shape, self._title = Shape(), "starting the simulation"
        self._signals: dict[str, Signal] = {}
        self._events: list[Any] = []
        self._told: dict[str, Any] = {}
        self._recording = ""
        self._reached = 0.0
        self._state, self._message = "running", ""
        self._refused, self._refused_s = "", 0.0

    def pump(self) -> bool:
        """Takes what the worker has sent."""
        if self._state == "lost":
            return False
        changed = False
        try:
            while self._pipe.poll():
                self._take(self._pipe.recv())
                changed = True
        except (EOFError, OSError):
            if self._state != "lost":
                code = self._process.exitcode
                self._lose(f"The simulation ended unexpectedly (exit code {code}).")
            changed = True
        return changed

    def _lose(self, message: str) -> None:
        self._state, self._message = "lost", message

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("hello", hello):
                self._greet(hello)
            case ("piece", piece, reached, _, told):
                self._told = told
                self._pipe.send(("taken",))
                if self._samples is not None:
                    self._samples.add(piece)
                self._events += piece.events
                self._reached = 0.7 * self._reached + 0.3 * reached
            case ("recording", path):
                self._recording = path
            case ("over",):
                self._state, self._message = "ended", "The scenario has come to its end."
            case ("refused", text):
                self._refused, self._refused_s = text, time.monotonic()
            case ("failed", text):
                self._lose(text)

    def _greet(self, hello: worker.Hello) -> None:
        self._title = hello.title
        self._shape = Shape(
            hello.pack,
            hello.blocks,
            hello.parallel,
            hello.blocks_per_module,
            hello.limits,
            hello.predicted_ms,
        )
        self._signals = {
            name: Signal(name, unit, kind, text, count, choices_of(name))
            for name, unit, kind, text, count, _ in hello.signals
        }
        cells = {s[0]: s[4] for s in hello.signals if s[5] == "cells"}
        scalars = {s[0]: 1 for s in hello.signals if s[5] != "cells"}
        self._samples = Samples(scalars, cells, HOUR_TICKS)

    def snapshot(self) -> Snapshot:
        """As it is now."""
        samples = self._samples
        time_s = samples.last_s if samples else 0.0
        state = self._state
        if state == "running" and self.speed == 0.0:
            state = "paused"
        return Snapshot(
            title=self._title,
            source="simulation",
            time_s=time_s,
            span_s=samples.span_s if samples else (0.0, 0.0),
            shape=self._shape,
            signals=self._signals,
            latest=samples.latest if samples else {},
            heard_s=samples.heard_s if samples else {},
            events=self._events,
            frames=samples.frames() if samples else no_frames(),
            injected=self._told.get("injected", ()),
            registers=self._told.get("registers"),
            status=Status(state, self._words(), self._reached, self.speed, self._recording),
            offers=OFFERS,
            data=samples,
        )

    def _words(self) -> str:
        """How it is doing, or for some seconds why something was not done."""
        if self._refused and time.monotonic() - self._refused_s < REFUSED_S:
            return self._refused
        return self._message

    def ask(self, word: str, *arguments: Any) -> None:
        """See snapshot.COMMANDS. Anything else, or a worker that is gone, changes nothing."""
        if word == "restart":
            self.close()
            self._start()
            return
        if self._state == "lost":
            return
        if word == "speed":
            self.speed = float(arguments[0])
        if word == "pause":
            self.speed = 0.0 if self.speed else float(arguments[0] if arguments else 1.0)
        told = ("speed", self.speed) if word in ("speed", "pause") else (word, *arguments)
        try:
            self._pipe.send(told)
        except (BrokenPipeError, OSError):
            self._lose("The simulation is gone.")

    def close(self) -> None:
        """Ends the worker."""
        try:
            self._pipe.send(("stop",))
            self._pipe.close()
        except (BrokenPipeError, OSError):
            pass
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(2.0)
