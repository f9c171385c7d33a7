"""The simulation of the desktop, in a process of its own: a window never waits for it.

Messages over a pipe, as tuples with a word first.

    to it     ("speed", times real time; 0 pauses)  ("request", "drive" ...)  ("step", seconds)
              ("record", path or "")  ("taken",)  ("stop",)  and what hands.py does
    from it   ("hello", Hello)  ("piece", Piece, speed reached, frames left out, hands.tell())
              ("recording", path or "")  ("refused", text)  ("over",)  ("failed", text)

A piece is answered by "taken"; at most `AHEAD` are under way, so neither side can drown the other.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bms_gui.hands import Hands

AHEAD = 3
FRAMES_A_PIECE = 4000
PIECE_WALL_S = 0.03
REQUESTS = ("standby", "drive", "charge")


@dataclass(frozen=True)
class Hello:
    """What is simulated. signals: (name, unit, kind, text, count, rate)."""

    title: str
    pack: str
    blocks: int
    parallel: int
    blocks_per_module: int
    limits: dict[str, tuple[float, ...]]
    predicted_ms: dict[str, float]
    signals: tuple[tuple[str, str, str, str, int, str], ...]


@dataclass
class Pace:
    """Simulated time against the clock."""

    speed: float = 1.0
    from_s: float = 0.0
    from_wall_s: float = 0.0

    def set(self, speed: float, time_s: float) -> None:
        """From now on so fast."""
        self.speed, self.from_s, self.from_wall_s = speed, time_s, time.perf_counter()

    def due_s(self) -> float:
        """Simulated time that should have been reached."""
        return self.from_s + (time.perf_counter() - self.from_wall_s) * self.speed


def main(pipe: Connection, options: dict[str, Any]) -> None:
    """Runs until told to stop or the other side is gone. options: arguments of Simulation."""
    try:
        _run(pipe, options)
    except (EOFError, OSError, KeyboardInterrupt):
        return
    except Exception as error:
        from bms import BmsError

        known = isinstance(error, BmsError)
        pipe.send(("failed", str(error) if known else traceback.format_exc(limit=-4)))


def _hello(tap: Any) -> Hello:
    from bms import why
    from bms.reaction import predict

    simulation = tap.simulation
    shape = simulation.pack.topology
    signals = [(s.name, s.unit, s.kind, s.text, int(s.source.size), s.rate) for s in tap.signals]
    signals += [(e.name, e.unit, e.kind, e.text, 1, "pack") for e in tap.extremes]
    return Hello(
        simulation.plan.title,
        simulation.pack.name,
        shape.blocks,
        shape.parallel,
        shape.blocks_per_module,
        why.limits(simulation.cell, simulation.pack),
        {name: one.predicted_ms for name, one in predict(simulation.config).items()},
        tuple(signals),
    )


class Worker:
    """The loop: messages, the next piece, a nap."""

    def __init__(self, pipe: Connection, tap: Any, speed: float) -> None:
        self.pipe, self.tap, self.simulation = pipe, tap, tap.simulation
        self.pace, self.under_way, self.is_over, self.ended = Pace(), 0, False, False
        self.writer: Any = None
        self.hands = Hands(tap)
        self.size_s, self.wall_s = 0.02, time.perf_counter()
        self.pace.set(speed, self.simulation.time_s)

    def run(self) -> None:
        """Until "stop"."""
        try:
            while not self.ended:
                behind_s = self._behind_s()
                wait = 0.5 if self._is_idle() else (0.0 if behind_s >= 0.01 else 0.005)
                while not self.ended and self.pipe.poll(wait):
                    wait = 0.0
                    self._hear(self.pipe.recv())
                behind_s = self._behind_s()
                if not self.ended and not self._is_idle() and behind_s >= 0.01:
                    self._go_on(behind_s)
        finally:
            self._end_recording()

    def _is_idle(self) -> bool:
        return self.is_over or self.under_way >= AHEAD or self.pace.speed == 0.0

    def _behind_s(self) -> float:
        now_s = self.simulation.time_s
        return min(self.pace.due_s(), now_s + self.size_s) - now_s

    def _go_on(self, behind_s: float) -> None:
        began = time.perf_counter()
        piece, left_out = _fewer_frames(self.hands.run(behind_s))
        spent = time.perf_counter() - began
        reached = behind_s / max(1e-9, time.perf_counter() - self.wall_s)
        self.wall_s = time.perf_counter()
        self.size_s = min(60.0, max(0.02, behind_s * PIECE_WALL_S / max(1e-4, spent)))
        if self.pace.due_s() - self.simulation.time_s > 1.0:  # too slow: no debt is carried
            self.pace.set(self.pace.speed, self.simulation.time_s)
        self._send(piece, reached, left_out)
        self.is_over = piece.is_over
        if self.is_over:
            self.pipe.send(("over",))

    def _send(self, piece: Any, reached: float, left_out: int) -> None:
        self.pipe.send(("piece", piece, reached, left_out, self.hands.tell()))
        self.under_way += 1

    def _hear(self, message: tuple[Any, ...]) -> None:
        refused = ""
        match message:
            case ("stop",):
                self.ended = True
            case ("taken",):
                self.under_way -= 1
            case ("step", seconds):
                self._send(self.hands.run(min(60.0, seconds)), 0.0, 0)
            case ("speed", speed):
                self.pace.set(min(float(speed), 1e6), self.simulation.time_s)
            case ("record", path):
                refused = self._record(path)
                self.pipe.send(("recording", path if self.writer else ""))
            case ("request", word) if word in REQUESTS:
                self.simulation.world.parts["vehicle"]["request"][0] = REQUESTS.index(word)
            case _:
                refused = self.hands.do(message)
                self._send(self.tap.run(0.0), 0.0, 0)  # what was done is seen while paused too
        if refused:
            self.pipe.send(("refused", refused))

    def _record(self, path: str) -> str:
        """From now on into a file, or no longer; "" or why not."""
        from bms.errors import RecorderError
        from bms.recorder import Writer
        from bms.result import metadata

        self._end_recording()
        if not path:
            return ""
        try:
            about = metadata(self.simulation)
            self.writer = Writer(path, self.tap.signals, about, cells_every_s=0.1, frames=True)
        except RecorderError as error:
            return str(error)
        self.tap.record(self.writer)
        return ""

    def _end_recording(self) -> None:
        from bms.result import summarise

        if self.writer is None:
            return
        writer, self.writer = self.writer, None
        self.tap.record(None)
        try:
            writer.close(summarise(self.simulation, 1.0))
        except Exception as error:  # the simulation goes on
            self.pipe.send(("refused", str(error)))


def _run(pipe: Connection, options: dict[str, Any]) -> None:
    from bms import Simulation
    from bms.tap import Tap

    speed = float(options.pop("speed", 1.0))
    tap = Tap(Simulation(**options), cells_every_s=0.5)
    pipe.send(("hello", _hello(tap)))
    Worker(pipe, tap, speed).run()


def _fewer_frames(piece: Any) -> tuple[Any, int]:
    """At a thousand times real time nobody reads every frame: the newest are kept."""
    excess = len(piece.frames.id) - FRAMES_A_PIECE
    if excess <= 0:
        return piece, 0
    fields = dataclasses.fields(piece.frames)
    frames = {f.name: getattr(piece.frames, f.name)[excess:] for f in fields}
    return dataclasses.replace(piece, frames=type(piece.frames)(**frames)), excess
