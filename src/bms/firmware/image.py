"""The firmware as an image for a Cortex-M4F, made by Debian's cross compiler.

    image = build(Path("build/target"))     # ELF, flash and RAM in bytes

Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and the source tree; `missing()` says what is not
there.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import bms
from bms.errors import BmsError

ROOT = Path(bms.__file__).resolve().parents[2]
EXT = ROOT / "ext"
COMPILER = "arm-none-eabi-gcc"
PACKAGES = {COMPILER: "gcc-arm-none-eabi libnewlib-arm-none-eabi", "cc": "gcc"}
FLAGS = (
    "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard -std=c99 -O2 -ffp-contract=off "
    "-fno-math-errno -fno-trapping-math -funsigned-char -fno-short-enums -ffunction-sections "
    "-fdata-sections -nostartfiles --specs=nano.specs -Wl,--gc-sections"
)
CELLS = 96  # blocks in series that an image has memory for, unless more are asked for
INCLUDES = tuple(f"-I{EXT / p}" for p in ("", "common", "firmware", "firmware/generated"))
BOARD = EXT / "target/mps2"


@dataclass(frozen=True)
class Image:
    """A built image. flash_bytes: code and constants; ram_bytes: variables, without the stack's 32
    KiB and without the firmware's own state where that lies in shared memory."""

    elf: Path
    flash_bytes: int
    ram_bytes: int
    cells: int

    def place(self, symbol: str) -> int:
        """Address of a function or variable. KeyError without one."""
        for line in run(["arm-none-eabi-nm", str(self.elf)]).splitlines():
            words = line.split()
            if words[-1] == symbol:
                return int(words[0], 16)
        raise KeyError(symbol)


def missing(**more: str) -> str:
    """What must be installed, as a command; empty when all is there. more: further packages, by
    the tool that shows they are there."""
    if not (EXT / "target/mailbox.h").is_file():
        return "the source tree: an installed package has no firmware sources"
    packages = [p for tool, p in (PACKAGES | more).items() if shutil.which(tool) is None]
    return f"apt-get install {' '.join(packages)}" if packages else ""


def is_stale(made: Path) -> bool:
    """Whether a file is older than any source of an image."""
    parts = ("firmware/**/*", "target/**/*", "common/*", "links/slcan.*")
    watched = [path for part in parts for path in EXT.glob(part)]
    return not made.exists() or made.stat().st_mtime < max(p.stat().st_mtime for p in watched)


def build(folder: Path, cells: int = CELLS) -> Image:
    """The image behind the mailbox (ext/target/mailbox.h), compiled into a folder unless it is
    newer than every source. cells: blocks in series it has memory for, 1 to 400. BmsError with the
    compiler's first error."""
    return link(folder / f"firmware-{cells}.elf", cells, [BOARD / "main.c"])


def build_wires(folder: Path, cells: int = CELLS) -> Image:
    """The image with drivers for the board's serial lines (ext/target/mps2/wires.c), its state in
    its own memory; else as `build`."""
    sources = [BOARD / "wires.c", EXT / "links/slcan.c"]
    return link(folder / f"wires-{cells}.elf", cells, sources)


def link(elf: Path, cells: int, sources: list[Path]) -> Image:
    """Firmware and start-up code with further sources, as `build`."""
    if lacking := missing():
        raise BmsError(f"the microcontroller needs: {lacking}")
    elf.parent.mkdir(parents=True, exist_ok=True)
    firmware = [
        *sorted((EXT / "firmware").glob("*.c")), *sorted((EXT / "firmware/generated").glob("*.c")),
    ]  # fmt: skip
    if is_stale(elf):
        everything = map(str, [*firmware, BOARD / "startup.c", *sources])
        run([COMPILER, *FLAGS.split(), f"-DBMS_CELLS_MAX={cells}", *INCLUDES, *everything,
             "-T", str(BOARD / "link.ld"), "-lgcc", "-o", str(elf)])  # fmt: skip
    sizes = run(["arm-none-eabi-size", str(elf)]).splitlines()[1].split()
    text, data, bss = (int(x) for x in sizes[:3])
    return Image(elf, text + data, data + bss, cells)


def run(command: list[str]) -> str:
    """What a tool says. BmsError with the first error of one that fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise BmsError(f"{command[0]}: {words[0][:200]}")
    return done.stdout
