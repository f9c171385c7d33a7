"""The simulation of the desktop, in a process of its own: a window never waits for it.

Messages over a pipe, as tuples with a word first.

    to it     ("speed", times real time; 0 pauses, inf as fast as it goes)  ("act", field, index,
              value)  ("request", "drive" ...)  ("step", seconds)  ("taken",)  ("stop",)
    from it   ("hello", Hello)  ("piece", Piece, speed reached, frames left out)  ("acted", field,
              index, value, time_s)  ("refused", text)  ("over",)  ("failed", text)

A piece is answered by "taken"; at most `AHEAD` are under way, so neither side can drown the other.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

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
    signals: tuple[tuple[str, str, str, str, int, str], ...]
    fields: dict[str, dict[str, int]]
    """Fields of the world that can be written: part -> name -> number of elements."""


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
    simulation = tap.simulation
    shape, limits = simulation.pack.topology, simulation.cell.limits
    names = ("voltage_max_v", "voltage_min_v", "temperature_max_discharge_degc")
    return Hello(
        simulation.plan.title,
        simulation.pack.name,
        shape.blocks,
        shape.parallel,
        shape.blocks_per_module,
        {name: tuple(getattr(limits, name)) for name in names},
        tuple((s.name, s.unit, s.kind, s.text, int(s.source.size), s.rate) for s in tap.signals),
        {
            part: {name: int(array.size) for name, array in fields.items()}
            for part, fields in simulation.world.parts.items()
        },
    )


def _run(pipe: Connection, options: dict[str, Any]) -> None:
    from bms import Simulation
    from bms.tap import Tap

    speed = float(options.pop("speed", 1.0))
    tap = Tap(Simulation(**options), cells_every_s=0.5)
    simulation, pace, under_way, is_over = tap.simulation, Pace(), 0, False
    pipe.send(("hello", _hello(tap)))
    pace.set(speed, simulation.time_s)
    size_s, wall_s = 0.02, time.perf_counter()
    while True:
        idle = is_over or under_way >= AHEAD or pace.speed == 0.0
        behind_s = min(pace.due_s(), simulation.time_s + size_s) - simulation.time_s
        wait = 0.5 if idle else (0.0 if behind_s >= 0.01 else 0.005)
        while pipe.poll(wait):
            wait, message = 0.0, pipe.recv()
            if message[0] == "stop":
                return
            if message[0] == "taken":
                under_way -= 1
            elif message[0] == "step":
                pipe.send(("piece", tap.run(message[1]), 0.0, 0))
                under_way += 1
            else:
                _do(pipe, simulation, pace, message)
        behind_s = min(pace.due_s(), simulation.time_s + size_s) - simulation.time_s
        if is_over or under_way >= AHEAD or pace.speed == 0.0 or behind_s < 0.01:
            continue
        began = time.perf_counter()
        piece, left_out = _fewer_frames(tap.run(behind_s))
        spent = time.perf_counter() - began
        reached = behind_s / max(1e-9, time.perf_counter() - wall_s)
        wall_s = time.perf_counter()
        size_s = min(60.0, max(0.02, behind_s * PIECE_WALL_S / max(1e-4, spent)))
        if pace.due_s() - simulation.time_s > 1.0:  # too slow for this speed: no debt is carried
            pace.set(pace.speed, simulation.time_s)
        pipe.send(("piece", piece, reached, left_out))
        under_way += 1
        is_over = piece.is_over
        if is_over:
            pipe.send(("over",))


def _fewer_frames(piece: Any) -> tuple[Any, int]:
    """At a thousand times real time nobody reads every frame: the newest are kept."""
    excess = len(piece.frames.id) - FRAMES_A_PIECE
    if excess <= 0:
        return piece, 0
    fields = dataclasses.fields(piece.frames)
    frames = {f.name: getattr(piece.frames, f.name)[excess:] for f in fields}
    return dataclasses.replace(piece, frames=type(piece.frames)(**frames)), excess


def _do(pipe: Connection, simulation: Any, pace: Pace, message: tuple[Any, ...]) -> None:
    match message:
        case ("speed", speed):
            pace.set(min(float(speed), 1e6), simulation.time_s)
        case ("request", word) if word in REQUESTS:
            simulation.world.parts["vehicle"]["request"][0] = REQUESTS.index(word)
        case ("act", field, index, value):
            part, _, name = str(field).partition(".")
            array = simulation.world.parts.get(part, {}).get(name)
            if array is None or not 0 <= index < array.size:
                pipe.send(("refused", f"there is no {field}[{index}] in this world"))
                return
            before = float(np.ravel(array)[index])
            np.ravel(array)[index] = value
            pipe.send(("acted", field, index, value, before, simulation.time_s))
        case _:
            pipe.send(("refused", f"{message[0]} is not something a simulation does"))
