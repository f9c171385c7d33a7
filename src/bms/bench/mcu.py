"""The firmware on a microcontroller: flash, memory, stack and instructions of real ARM code.

`bms bench mcu` runs the whole firmware of 96 cells in the closed loop, in Unicorn, which counts
every instruction of every `ecu_step`: start-up, precharge and drive, bursts of frames, faults that
trip, a fast charge (`JOURNEYS`). The run counts only if it is the same, bit for bit, as the host's.

Rows of the estimator alone (`bms bench estimator`): ext/trial/mcu_count.c, the same way. Where a
tool or the source tree is missing the rows say what to install.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import bms
from bms import _estimator, _loop, cells
from bms.bench import Row, chip
from bms.estimator import params
from bms.firmware import image, leak
from bms.links import FRAME_DTYPE
from bms.sim import Simulation

CODE, RAM, STACK, RETURN = 0x00010000, 0x20000000, 0x200FFF00, 0x00700000
BLOCKS = 96
COMPILER = "arm-none-eabi-gcc"
FLAGS = (
    "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -std=c99 -O2 -ffreestanding "
    "-ffp-contract=off -fno-math-errno -fno-trapping-math -funsigned-char -fno-short-enums "
    "-nostartfiles -nostdlib -Wl,-e,count_start"
)
NAMES = {
    "instructions_per_cell_update": "est_step and est_results, every reading of the voltages",
    "instructions_per_cell_conditions": "est_conditions, when temperatures change",
    "instructions_per_cell_leak_second": "leak.c, every second: the mean of a minute",
    "state_bytes_per_cell": "estimator.h",
    "leak_state_bytes_per_cell": "leak.h",
}
CALLS_A_MINUTE = 60


def missing() -> str | None:
    """What to install, or None."""
    if not (Path(bms.__file__).resolve().parents[2] / "ext/trial/mcu_count.c").is_file():
        return "not measured: needs the source tree"
    if shutil.which(COMPILER) is None:
        return "not measured: apt install gcc-arm-none-eabi"
    try:
        import_module("unicorn")
    except ImportError:
        return "not measured: pip install unicorn"
    return None


def compiled(folder: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """(code and data from address CODE on, symbols: address and size)."""
    ext = Path(bms.__file__).resolve().parents[2] / "ext"
    elf, image = folder / "count.elf", folder / "count.bin"
    places = [f"-I{ext / name}" for name in ("common", "firmware")]
    where = [f"-Wl,-Ttext={CODE:#x}", f"-Wl,-Tbss={RAM:#x}"]
    source = str(ext / "trial/mcu_count.c")
    command = [COMPILER, *FLAGS.split(), *places, *where, "-o", str(elf), source, "-lgcc"]
    subprocess.run(command, check=True, capture_output=True)
    copy = ["arm-none-eabi-objcopy", "-O", "binary", "-R", ".bss", str(elf), str(image)]
    subprocess.run(copy, check=True, capture_output=True)
    listed = subprocess.run(
        ["arm-none-eabi-nm", "-S", str(elf)], check=True, capture_output=True, text=True
    )
    symbols = {}
    for line in listed.stdout.splitlines():
        words = line.split()
        if len(words) == 4:
            symbols[words[3]] = (int(words[0], 16), int(words[1], 16))
    return image.read_bytes(), symbols


class Board:
    """The compiled functions in an emulated Cortex-M4F that counts."""

    def __init__(self, image: bytes, symbols: dict[str, tuple[int, int]]) -> None:
        unicorn: Any = import_module("unicorn")
        self._arm: Any = import_module("unicorn.arm_const")
        self.symbols = symbols
        machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        machine.ctl_set_cpu_model(self._arm.UC_CPU_ARM_CORTEX_M4)
        machine.mem_map(0, 0x800000)
        machine.mem_map(RAM, 0x100000)
        machine.mem_write(CODE, image)
        machine.mem_write(RETURN, b"\x00\xbf\x00\xbf")
        access = machine.reg_read(self._arm.UC_ARM_REG_C1_C0_2)
        machine.reg_write(self._arm.UC_ARM_REG_C1_C0_2, access | 0xF << 20)  # the FPU
        machine.reg_write(self._arm.UC_ARM_REG_FPEXC, 0x40000000)
        self._machine, self._count = machine, 0
        machine.hook_add(unicorn.UC_HOOK_CODE, self._one)

    def _one(self, *_: object) -> None:
        self._count += 1

    def write(self, name: str, data: bytes) -> None:
        """Into a variable by its name."""
        place, size = self.symbols[name]
        if len(data) != size:
            raise ValueError(f"{name} has {size} bytes, not {len(data)}")
        self._machine.mem_write(place, data)

    def read(self, name: str) -> bytes:
        """A variable by its name."""
        return bytes(self._machine.mem_read(*self.symbols[name]))

    def call(self, name: str) -> int:
        """Instructions of one call."""
        self._count = 0
        self._machine.reg_write(self._arm.UC_ARM_REG_SP, STACK)
        self._machine.reg_write(self._arm.UC_ARM_REG_LR, RETURN | 1)
        self._machine.emu_start(self.symbols[name][0] | 1, RETURN)
        return self._count


def filled(board: Board, cell_name: str) -> None:
    """Parameters of a cell and the readings of 96 slightly different ones, half charged."""
    cell = cells.load(cell_name)
    pack = params.pack_round(cell, 1, None, None)
    made = _estimator.Strings(1, False)
    params.fill(made.est, made.obs, made.params, cell, pack, params.START_STD_FRAC)
    filled_in = next(iter(made.est.values())).base
    assert filled_in is not None  # the struct that all fields are views of
    board.write("count_params", filled_in.tobytes())
    spread = np.linspace(-1.0, 1.0, BLOCKS)
    volts = np.round(3.80e6 + 5e4 * spread).astype("<i4")
    board.write("count_uv", volts.tobytes())
    board.write("count_cdegc", np.round(2500.0 + 500.0 * spread).astype("<i4").tobytes())
    board.write("count_valid", b"\xff" * (4 * BLOCKS))
    board.write("count_spread_a", leak.spread_a(cell, pack).astype("<f4").tobytes())


def counted(cell_name: str) -> dict[str, float]:
    """Every row's figure."""
    with tempfile.TemporaryDirectory(prefix="bms-mcu-") as folder:
        image, symbols = compiled(Path(folder))
    board = Board(image, symbols)
    filled(board, cell_name)
    board.call("count_start")
    steps = [board.call("count_step") + board.call("count_results") for _ in range(4)]
    seconds = [board.call("count_leak_second") for _ in range(CALLS_A_MINUTE)]
    if not np.isfinite(struct.unpack("<f", board.read("count_bank")[-4:])[0]):
        raise ArithmeticError("the estimator on the microcontroller gave what is not a number")
    return {
        "instructions_per_cell_update": max(steps) / BLOCKS,
        "instructions_per_cell_conditions": board.call("count_conditions") / BLOCKS,
        "instructions_per_cell_leak_second": sum(seconds) / len(seconds) / BLOCKS,
        "state_bytes_per_cell": float(symbols["count_bank"][1] // BLOCKS),
        "leak_state_bytes_per_cell": float(symbols["count_leak"][1] // BLOCKS),
    }


def arm_rows(cell_name: str) -> list[Row]:
    """Rows of the microcontroller; without figures where tools are missing, and why."""
    why = missing()
    found = {} if why else counted(cell_name)
    return [
        Row(
            name=name,
            ours=found.get(name),
            unit="B" if "bytes" in name else "1",
            better="lower",
            limit_source=why or f"Cortex-M4F, -O2, 96 cells: {text}",
        )
        for name, text in NAMES.items()
    ]


# ---- the whole firmware ----

PACK = "car_96s1p"
JOURNEYS: dict[str, tuple[tuple[float, str], ...]] = {
    # scenario: (simulated seconds, then this fault of the catalogue or "burst")
    "drive": ((30.0, "burst"), (3.0, "COM-09"), (5.0, "COM-11"), (5.0, "CEL-02"), (5.0, "SYS-02"),
              (15.0, "")),
    "fast_charge_15_90": ((20.0, "burst"), (3.0, "AFE-01"), (5.0, "")),
}  # fmt: skip
BURST, TESTER_ID = 20, 0x7E4  # frames at once; requests of a tester (docs/diagnostics.md)
STEP_LIMIT, FLASH_LIMIT, RAM_LIMIT, STACK_LIMIT = 60_000, 256 << 10, 128 << 10, 8 << 10
WHOLE = {
    "flash_bytes": ("B", "lower", FLASH_LIMIT, "a small Cortex-M4F"),
    "ram_bytes": ("B", "lower", RAM_LIMIT, "a small Cortex-M4F; state, one input and output"),
    "stack_bytes": ("B", "lower", STACK_LIMIT, "our own bound; most that any step used"),
    "instructions_worst": ("1", "lower", STEP_LIMIT, "our own bound: a third of 1 ms at 180 MHz"),
    "instructions_p99": ("1", "lower", STEP_LIMIT, "as the worst"),
    "instructions_p50": ("1", "lower", STEP_LIMIT, "as the worst"),
    "realtime_factor": ("1", "higher", None, "Unicorn, counting every instruction"),
}


def burst(simulation: Simulation) -> None:
    """Many frames of a foreign node at once: requests of a tester, and what nobody asked for."""
    frames: Any = np.zeros(BURST, FRAME_DTYPE)
    frames["id"], frames["length"] = TESTER_ID, 8
    frames["data"][:, :4] = (3, 0x22, 0xF1, 0x90)  # the identification of the vehicle
    frames["id"][1::4] = 0x123
    simulation.world.put_frames(0, frames)


def happens(simulation: Simulation, what: str) -> None:
    """A burst or a fault; "" is nothing."""
    if what == "burst":
        burst(simulation)
    elif what:
        simulation.inject(what)


def travelled(built: image.Image, scenario: str, folder: Path) -> tuple[chip.Chip, float]:
    """One of JOURNEYS on the chip and on the host: (chip with its counts, seconds it took).
    ArithmeticError when they differ."""
    machine = chip.Chip(built, folder)
    there, here = chip.Counted(machine, scenario, pack=PACK), Simulation(scenario, pack=PACK)
    began = time.perf_counter()
    for simulation in (there, here):
        for seconds, what in JOURNEYS[scenario]:
            simulation.run(seconds, record=False)
            happens(simulation, what)
        if simulation is there:
            took_s = time.perf_counter() - began
    traces = [int(s.world.parts["loop"]["trace_hash"][0]) for s in (there, here)]
    if traces[0] != traces[1]:
        raise ArithmeticError(f"{scenario}: the chip did not do what the host does")
    return machine, took_s


def whole() -> dict[str, float]:
    """Every figure of the whole firmware."""
    with tempfile.TemporaryDirectory(prefix="bms-mcu-") as name:
        built = image.build(Path(name), BLOCKS)
        runs = [travelled(built, scenario, Path(name)) for scenario in JOURNEYS]
    steps = np.concatenate([machine.steps for machine, _ in runs])
    exchanged = _loop.IN_BYTES + _loop.OUT_BYTES
    return {
        "flash_bytes": built.flash_bytes,
        "ram_bytes": built.ram_bytes + runs[0][0].size + exchanged,
        "stack_bytes": max(machine.stack_bytes for machine, _ in runs),
        "instructions_worst": float(steps.max()),
        "instructions_p99": float(np.percentile(steps, 99)),
        "instructions_p50": float(np.percentile(steps, 50)),
        "realtime_factor": len(steps) * 1e-3 / sum(took_s for _, took_s in runs),
    }


def rows(_: object) -> list[Row]:
    """Rows of `bms bench mcu`."""
    why = chip.missing()
    found = {} if why else whole()
    return [
        Row(
            name=name, ours=found.get(name), unit=unit, better=better,  # type: ignore[arg-type]
            limit=limit, limit_source=why or source,
        )
        for name, (unit, better, limit, source) in WHOLE.items()
    ]  # fmt: skip
