"""What hands do to a simulated pack: faults, frames, registers, requests to clear.

Lives in the worker's process. Each thing is done the way it would be done on a bench: a frame waits
for its turn on the bus, a clear request is sent by the vehicle, a register is written past the
chip's line with all that sets off.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from bms_gui.snapshot import Injected, Registers, refusal
from bms_gui.transmit import Job, Schedule

from bms import BmsError, faults
from bms.recorder import Event

CLEAR_S = 0.5
"""How long the vehicle asks to clear: the BMS wants to see it in several frames."""
SLOTS = 512  # bytes of a chip in chips.registers
PENDING_MAX = 256


class Hands:
    """Of one simulation. `run` takes the place of tap.run, so that frames are sent when due."""

    def __init__(self, tap: Any) -> None:
        self.tap, self.simulation = tap, tap.simulation
        self.schedule = Schedule()
        self.shows_registers = False
        self._clear_until_s = -1.0
        self._ramps: dict[int, float] = {}
        self._pending: Counter[tuple[int, int, bytes]] = Counter()

    # ---- what is asked ----

    def do(self, message: tuple[Any, ...]) -> str:
        """Does it; "" or a sentence why not."""
        try:
            match message:
                case ("inject", name, index, value, after_s, ramp_s, for_s):
                    handle = self.simulation.inject(
                        name, index=index, value=value, after_s=after_s, ramp_s=ramp_s, for_s=for_s
                    )
                    self._ramps[handle] = faults.fault(name).ramp_s if ramp_s is None else ramp_s
                case ("withdraw", handle):
                    self.simulation.withdraw(handle)
                case ("clear", as_service):
                    self._clear(bool(as_service))
                case ("transmit", jobs):
                    return self._transmit(jobs)
                case ("registers", wanted):
                    self.shows_registers = bool(wanted)
                case ("write_register", chip, address, value):
                    return self._write(int(chip), int(address), int(value))
                case _:
                    return refusal("simulation", str(message[0]))
        except (BmsError, ValueError, KeyError, IndexError) as error:
            return str(error)
        return ""

    def _clear(self, as_service: bool) -> None:
        vehicle = self.simulation.world.parts["vehicle"]
        vehicle["clear_request"][0], vehicle["service"][0] = 1, int(as_service)
        self._clear_until_s = self.simulation.time_s + CLEAR_S
        self._event("clear request", text="as service" if as_service else "")

    def _transmit(self, jobs: tuple[Job, ...]) -> str:
        wrong = [j for j in jobs if j.bus not in (0, 1) or not 0 <= j.id < 1 << 29]
        if wrong:
            return f"There is no bus {wrong[0].bus} or no identifier {wrong[0].id:x}."
        self.schedule.use(jobs, self.simulation.time_s)
        return ""

    def _write(self, chip: int, address: int, value: int) -> str:
        if not 0 <= value <= 255:
            return f"A register holds 0 to 255, not {value}."
        if not self.simulation.world.write_register(chip, address, value):
            return f"Register 0x{address:03X} of chip {chip + 1} cannot be written."
        self._event(f"register 0x{address:03X}", index=chip, value=float(value), text="written")
        return ""

    def _event(
        self, name: str, *, index: int = -1, value: float = float("nan"), text: str = ""
    ) -> None:
        at_ns = int(self.simulation.world.parts["loop"]["elapsed_us"][0]) * 1000
        self.simulation.events.append(Event(at_ns, "act", name, index, value, text))

    # ---- what is told ----

    def tell(self) -> dict[str, Any]:
        """ "injected" and "registers" of a snapshot."""
        return {"injected": self._injected(), "registers": self._registers()}

    def _injected(self) -> tuple[Injected, ...]:
        return tuple(
            Injected(
                f.handle, f.id, f.index, f.value, f.state, f.on_s, f.off_s,
                self._ramps.get(f.handle, 0.0),
            )
            for f in self.simulation.faults()
        )  # fmt: skip

    def _registers(self) -> Registers | None:
        if not self.shows_registers:
            return None
        chips = self.simulation.world.parts["chips"]
        count = int(chips["chip_count"][0])
        values = chips["registers"].reshape(-1, SLOTS)[:count].copy()
        return Registers(values, self.simulation.time_s)

    # ---- time goes on ----

    def run(self, seconds: float) -> Any:
        """The next stretch, as tap.run gives it, with what is due sent on its way."""
        simulation, end_s = self.simulation, self.simulation.time_s + seconds
        while not simulation.is_over:
            self._send()
            self._stop_clearing()
            stop_s = min(end_s, self.schedule.next_s)
            if self._clear_until_s > 0.0:
                stop_s = min(stop_s, self._clear_until_s)
            if stop_s >= end_s - 1e-9:
                break
            before_s = simulation.time_s
            simulation.advance(max(1e-3, stop_s - before_s), self.tap)
            self.tap.drain()
            if simulation.time_s == before_s:
                break
        return self._marked(self.tap.run(max(0.0, end_s - simulation.time_s)))

    def _stop_clearing(self) -> None:
        if 0.0 < self._clear_until_s <= self.simulation.time_s + 1e-9:
            vehicle = self.simulation.world.parts["vehicle"]
            vehicle["clear_request"][0] = vehicle["service"][0] = 0
            self._clear_until_s = -1.0

    def _send(self) -> None:
        due = self.schedule.due(self.simulation.time_s)
        if not due:
            return
        from bms.links import FRAME_DTYPE

        for job, data in due:
            frame = np.zeros(1, FRAME_DTYPE)
            frame["id"], frame["bus"], frame["length"] = job.id, job.bus, len(data)
            frame["flags"] = int(job.extended)
            frame["data"][0, : len(data)] = list(data)
            if self.simulation.world.put_frames(job.bus, frame):
                if self._pending.total() >= PENDING_MAX:
                    self._pending.clear()
                self._pending[(job.bus, job.id, data)] += 1

    def _marked(self, piece: Any) -> Any:
        """The piece, with direction 2 where a frame was ours."""
        if not self._pending:
            return piece
        frames = piece.frames
        ours = np.array(sorted({identifier for _, identifier, _ in self._pending}))
        direction = frames.direction.copy()
        for k in np.flatnonzero(np.isin(frames.id, ours) & (frames.direction == 0)):
            data = bytes(frames.data[k][: frames.length[k]])
            key = (int(frames.bus[k]), int(frames.id[k]), data)
            if self._pending[key] > 0:
                direction[k] = 2
                self._pending[key] -= 1
        self._pending += Counter()  # drops what is zero
        return replace(piece, frames=replace(frames, direction=direction))
