"""The firmware as an image for a microcontroller, and the microcontroller in QEMU.

    image = build(Path("build/target"))        # ELF, flash and RAM in bytes
    with Board(image, folder) as board: ...    # board.library fits ecu.h

Needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm, a C compiler for the
host and the source tree; `missing()` says what is not there.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import bms
from bms.errors import BmsError, LinkError

ROOT = Path(bms.__file__).resolve().parents[2]
EXT = ROOT / "ext"
COMPILER, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
PACKAGES = {
    COMPILER: "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    QEMU: "qemu-system-arm",
    "cc": "gcc",
}
FLAGS = (
    "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard -std=c99 -O2 -ffp-contract=off "
    "-fno-math-errno -fno-trapping-math -funsigned-char -fno-short-enums -ffunction-sections "
    "-fdata-sections -nostartfiles --specs=nano.specs -Wl,--gc-sections"
)
MACHINE = (
    "-M mps2-an386 -display none -nodefaults -monitor none -serial none -machine memory-backend=mb"
)
MEMORY_BYTES = 16 << 20
WRONG = {1: "its memory cannot be mapped", 2: "it does not answer", 3: "its structs differ"}


@dataclass(frozen=True)
class Image:
    """A built image. flash_bytes: code and constants; ram_bytes: data, and the stack's 32 KiB are
    not in it; state_bytes: the firmware's own state, which lies in the shared memory."""

    elf: Path
    host: Path
    flash_bytes: int
    ram_bytes: int


def missing() -> str:
    """What must be installed, as a command; empty when all is there."""
    if not (EXT / "target/mailbox.h").is_file():
        return "the source tree: an installed package has no firmware sources"
    packages = [p for tool, p in PACKAGES.items() if shutil.which(tool) is None]
    return f"apt-get install {' '.join(packages)}" if packages else ""


def build(folder: Path) -> Image:
    """Compile image and host side into a folder, unless they are newer than every source. BmsError
    with the compiler's first error."""
    if lacking := missing():
        raise BmsError(f"the microcontroller needs: {lacking}")
    folder.mkdir(parents=True, exist_ok=True)
    elf, host = folder / "firmware.elf", folder / "host.so"
    places = ["", "common", "firmware", "firmware/generated"]
    includes = [f"-I{EXT / p}" for p in places]
    firmware = [
        *sorted((EXT / "firmware").glob("*.c")), *sorted((EXT / "firmware/generated").glob("*.c")),
    ]  # fmt: skip
    board = EXT / "target/mps2"
    sources = [*firmware, board / "main.c", board / "startup.c"]
    watched = [*EXT.glob("firmware/**/*"), *EXT.glob("target/**/*"), *EXT.glob("common/*")]
    newest = max(p.stat().st_mtime for p in watched)
    if not elf.exists() or elf.stat().st_mtime < newest:
        _run([COMPILER, *FLAGS.split(), *includes, *map(str, sources), "-T", str(board / "link.ld"),
              "-lgcc", "-o", str(elf)])  # fmt: skip
    if not host.exists() or host.stat().st_mtime < newest:
        _run(["cc", "-shared", "-fPIC", "-O2", "-std=c99", *includes, str(EXT / "target/host.c"),
              "-o", str(host)])  # fmt: skip
    sizes = _run(["arm-none-eabi-size", str(elf)]).splitlines()[1].split()
    text, data, bss = (int(x) for x in sizes[:3])
    return Image(elf, host, text + data, data + bss)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise BmsError(f"{command[0]}: {words[0][:200]}")
    return done.stdout


class Board:
    """QEMU with the image, attached to `library`: a shared library that fits ecu.h. One at a time
    in a process."""

    def __init__(self, image: Image, folder: Path) -> None:
        self._memory = folder / "psram"
        with self._memory.open("wb") as file:
            file.truncate(MEMORY_BYTES)
        self.library = image.host
        share = f"memory-backend-file,id=mb,size=16M,mem-path={self._memory},share=on"
        self._qemu = subprocess.Popen(
            [QEMU, "-object", share, *MACHINE.split(), "-kernel", str(image.elf)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._host = ctypes.CDLL(str(image.host))
        self._host.target_state.restype = ctypes.POINTER(ctypes.c_uint8)
        self._host.target_is_gone.restype = ctypes.c_bool
        wrong = int(self._host.target_attach(str(self._memory).encode()))
        if wrong:
            self.close()
            raise LinkError(f"the microcontroller cannot be used: {WRONG[wrong]}")

    @property
    def is_alive(self) -> bool:
        """Whether QEMU runs and the image answers."""
        return self._qemu.poll() is None and not self._host.target_is_gone()

    @property
    def state(self) -> bytes:
        """The firmware's memory."""
        return bytes(self._host.target_state()[: self.state_bytes])

    @property
    def state_bytes(self) -> int:
        """Its size."""
        return int(self._host.target_state_size())

    @property
    def stack_bytes(self) -> int:
        """Most stack used so far; looked at every 1 024 steps."""
        return int(self._host.target_stack_used())

    def flip(self, place: int, bit: int) -> None:
        """Flip a bit of the firmware's memory, as a particle would."""
        self._host.target_state()[place] ^= 1 << bit

    def close(self) -> None:
        """Ends QEMU."""
        self._qemu.kill()
        self._qemu.wait()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    made = build(Path("build/target"))
    print(
        f"{made.elf}: {made.flash_bytes} bytes of flash, {made.ram_bytes} of RAM beside its state"
    )
