"""The estimator on a microcontroller: instructions and memory, counted on real ARM code.

ext/trial/mcu_count.c is compiled for a Cortex-M4F by arm-none-eabi-gcc and run in Unicorn, which
counts every instruction: the same number each time. Where a tool or the source tree is missing the
rows say what to install.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import bms
from bms import _estimator, cells
from bms.bench import Row
from bms.estimator import params
from bms.firmware import leak

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
