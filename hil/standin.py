"""What stands for a laboratory: simulated instruments wired to an emulated pack.

`bms emulate` is the pack with its chips and sensors, `bms ecu` the device under test; the
instruments are those of pyvisa-sim. A thread plays the wires: what an instrument is set to becomes
a quantity of the pack, what the pack does becomes what the instrument measures.

    cell simulator   voltage, open and short of each cell -> electromotive force, sense wire
    supply           -> supply of the control unit
    load, charger    -> current of the pack, once its contactors are closed
    lines            -> interlock, crash, ignition

It proves the rig's own code, and nothing about real instruments.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bms_hil.adapters import _visa
from bms_hil.processes import Process, free_port

from bms.errors import BmsError, LinkError

SCENARIO = Path(__file__).parent / "scenarios" / "bench.toml"
CELL_ERROR_V = 0.0004  # between terminals and read-back: a simulator's own error, assumption
SEEN_S = 0.05  # from telling a voltage until it can be read, at worst
LINES = {"interlock": 1, "crash": 2, "ignition": 3}
SUPPLY, LOAD, CHARGER = (f"TCPIP0::127.0.0.1::inst{k}::INSTR" for k in range(3))
BOXES = ("TCPIP0::127.0.0.1::5025::SOCKET", "TCPIP0::127.0.0.1::5026::SOCKET")
A_BOX = 8


class StandIn:
    """Processes and wires. visa: "FILE@sim". face: the device has this serial face as well, at the
    port `serial`."""

    def __init__(self, pack: str, visa: str, *, seed: int, face: str = "") -> None:
        import pyvisa

        self._folder = Path(tempfile.mkdtemp(prefix="bms-lab-"))
        self._devices: Any = pyvisa.ResourceManager(visa).visalib.devices  # type: ignore[attr-defined]
        port, link = free_port(), self._folder / "afe"
        self.can = f"socketcand:127.0.0.1:{port}/can0"
        self.failure, self.serial = "", ""
        self._ends = threading.Event()
        self._bias: dict[int, float] = {}
        self._moved_s: dict[int, float] = {}
        self._told: dict[str, float] = {}
        self._load_a = 0.0
        self.processes: list[Process] = []
        self._face: subprocess.Popen[str] | None = None
        try:
            self._start(pack, port, link, seed)
            if face:
                self._show(face)
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._wires, daemon=True)
        self._thread.start()

    def _start(self, pack: str, port: int, link: Path, seed: int) -> None:
        self.emulate = Process(
            "emulate", pack, "--link", link, "--scenario", SCENARIO, "--no-vehicle",
            "--seed", seed, "--can", f"socketcand-server:127.0.0.1:{port}/can0",
        )  # fmt: skip
        self.processes.append(self.emulate)
        self.emulate.wait("ready", lambda: "pack" in self.emulate.facts)
        self._say({"loop.supply_mv": 0.0, "loop.interlock": 0.0})
        self.ecu = Process("ecu", "--afe", link, "--can", self.can, "--pack", pack)
        self.processes.append(self.ecu)

    def _show(self, face: str) -> None:
        """`bms face` beside the device: it knows what the bus says and nothing else."""
        self.serial = str(self._folder / "face")
        command = [sys.executable, "-m", "bms.cli", "face", self.can, f"{face}=pty:{self.serial}"]
        self._face = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._face.stdout is not None
        if not self._face.stdout.readline():
            raise LinkError(f"bms face {face} has ended: the stand-in has no serial port")

    # ---- the wires ----

    def _wires(self) -> None:
        while not self._ends.is_set():
            try:
                self._step()
            except BmsError as error:
                self.failure = str(error)
                return

    def _step(self) -> None:
        cells = [f"plant.block_voltage_v[{k}]" for k in range(A_BOX * len(BOXES))]
        seen = self.emulate.ask(get=[*cells, "plant.pack_current_a", "plant.link_voltage_v"])
        seen = seen["values"]
        with _visa.LOCK:
            wanted = self._lines() | self._cells([float(seen[c]) for c in cells])
            self._meters(seen)
            load_a = self._current()
        self._say(wanted)
        if load_a != self._load_a:
            self._load_a = load_a
            if load_a < 0.0:
                self.emulate.ask(charge=-load_a)
            else:
                self.emulate.ask(load={"current_a": load_a, "obeys_limits": False})

    def _say(self, wanted: dict[str, float]) -> None:
        changed = {k: v for k, v in wanted.items() if self._told.get(k) != v}
        if changed:
            self._told |= changed
            self.emulate.ask(set=changed)

    def _ask(self, device: str, query: str) -> str:
        return bytes(self._devices[device]._match(query.encode())).decode()

    def _put(self, device: str, command: str) -> None:
        self._devices[device]._match(command.encode())

    def _lines(self) -> dict[str, float]:
        is_on = self._ask(SUPPLY, "OUTP?") == "1"
        supply_v = float(self._ask(SUPPLY, "VOLT?")) if is_on else 0.0
        self._put(SUPPLY, f"SIM:VOLT {supply_v:.4f}")
        found = {"loop.supply_mv": round(supply_v * 1e3)}
        for name, output in LINES.items():
            found[f"loop.{name}"] = float(self._ask(BOXES[0], f"SOUR:DAUX:OUT{output}?"))
        return found

    def _cells(self, block_v: list[float]) -> dict[str, float]:
        """The electromotive force that brings each block to its simulator's voltage. What was told
        takes a moment to be seen; told again before, it would be too much."""
        found, open_wires, now_s = {}, 0, time.monotonic()
        for k, now_v in enumerate(block_v):
            box, n = BOXES[k // A_BOX], k % A_BOX + 1
            fault = self._ask(box, f"OUTP{n}:FAUL?")
            is_on = self._ask(box, f"OUTP{n}?") == "1" and fault != "SHORT"
            target_v = float(self._ask(box, f"SOUR{n}:VOLT?")) if is_on else 0.0
            open_wires |= (fault == "OPEN") << k
            far = abs(target_v - now_v) > CELL_ERROR_V
            if far and now_s - self._moved_s.get(k, 0.0) > SEEN_S:
                self._bias[k] = round(self._bias.get(k, 0.0) + target_v - now_v, 5)
                self._moved_s[k] = now_s
            found[f"plant.cell_bias_v[{k}]"] = self._bias.get(k, 0.0)
            self._put(box, f"SIM{n}:VOLT {now_v + CELL_ERROR_V * (-1) ** k:.5f}")
        return found | {"chips.open_wire[0]": float(open_wires)}

    def _current(self) -> float:
        draws, gives = self._ask(LOAD, "INP?") == "1", self._ask(CHARGER, "OUTP?") == "1"
        drawn_a = float(self._ask(LOAD, "CURR?")) if draws else 0.0
        return drawn_a - (float(self._ask(CHARGER, "CURR?")) if gives else 0.0)

    def _meters(self, seen: dict[str, float]) -> None:
        self._put(LOAD, f"SIM:VOLT {float(seen['plant.link_voltage_v']):.4f}")
        self._put(LOAD, f"SIM:CURR {float(seen['plant.pack_current_a']):.4f}")

    def late_ticks(self) -> int:
        """How often its processes did not keep real time, since they began."""
        return sum(p.late_ticks() for p in self.processes)

    @property
    def died(self) -> str:
        """Why it stands for nothing any more; empty while it does."""
        dead = [f"bms {p.name} has ended" for p in self.processes if not p.is_alive]
        dead += ["bms face has ended"] if self._face and self._face.poll() is not None else []
        return self.failure or "; ".join(dead)

    def close(self) -> None:
        """Ends everything it started."""
        self._ends.set()
        if self._face is not None:
            self._face.terminate()
            self._face.communicate()
        for process in reversed(self.processes):
            process.close()
        shutil.rmtree(self._folder, ignore_errors=True)
