"""The firmware as an image for a microcontroller, and the microcontroller in QEMU.

    image = build(Path("build/target"))        # ELF, flash and RAM in bytes
    with Board(image, folder) as board: ...    # board.library fits ecu.h

Needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm, a C compiler for the
host and the source tree; `missing()` says what is not there.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import socket
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
CELLS = 96  # blocks in series that the image has memory for, unless more are asked for
MACHINE = "-M mps2-an386 -accel tcg -display none -nodefaults -monitor none"
MEMORY_BYTES = 16 << 20
STAND_STILL, UNDEFINED = bytes.fromhex("fee7"), bytes.fromhex("00de")  # Thumb: b . and udf #0
WRONG = {1: "its memory cannot be mapped", 2: "it does not answer", 3: "its structs differ"}


@dataclass(frozen=True)
class Image:
    """A built image. flash_bytes: code and constants; ram_bytes: data, without the stack's 32 KiB
    and without the firmware's own state, which lies in the shared memory."""

    elf: Path
    host: Path
    flash_bytes: int
    ram_bytes: int
    cells: int

    def place(self, symbol: str) -> int:
        """Address of a function or variable. KeyError without one."""
        for line in _run(["arm-none-eabi-nm", str(self.elf)]).splitlines():
            words = line.split()
            if words[-1] == symbol:
                return int(words[0], 16)
        raise KeyError(symbol)


def missing() -> str:
    """What must be installed, as a command; empty when all is there."""
    if not (EXT / "target/mailbox.h").is_file():
        return "the source tree: an installed package has no firmware sources"
    packages = [p for tool, p in PACKAGES.items() if shutil.which(tool) is None]
    return f"apt-get install {' '.join(packages)}" if packages else ""


def build(folder: Path, cells: int = CELLS) -> Image:
    """Compile image and host side into a folder, unless they are newer than every source. cells:
    blocks in series it has memory for, 1 to 400. BmsError with the compiler's first error."""
    if lacking := missing():
        raise BmsError(f"the microcontroller needs: {lacking}")
    folder.mkdir(parents=True, exist_ok=True)
    elf, host = folder / f"firmware-{cells}.elf", folder / "host.so"
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
        _run([COMPILER, *FLAGS.split(), f"-DBMS_CELLS_MAX={cells}", *includes, *map(str, sources),
              "-T", str(board / "link.ld"), "-lgcc", "-o", str(elf)])  # fmt: skip
    if not host.exists() or host.stat().st_mtime < newest:
        _run(["cc", "-shared", "-fPIC", "-O2", "-std=c99", *includes, str(EXT / "target/host.c"),
              "-o", str(host)])  # fmt: skip
    sizes = _run(["arm-none-eabi-size", str(elf)]).splitlines()[1].split()
    text, data, bss = (int(x) for x in sizes[:3])
    return Image(elf, host, text + data, data + bss, cells)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise BmsError(f"{command[0]}: {words[0][:200]}")
    return done.stdout


class Board:
    """QEMU with the image, attached to `library`: a shared library that fits ecu.h. One at a time
    in a process; any number of simulations with it."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image, self.library = image, image.host
        self._memory, probe = folder / "psram", folder / "probe"
        with self._memory.open("wb") as file:
            file.truncate(MEMORY_BYTES)
        share = f"memory-backend-file,id=mb,size=16M,mem-path={self._memory},share=on"
        waiting = socket.socket(socket.AF_UNIX)
        waiting.bind(str(probe))
        waiting.listen(1)
        waiting.settimeout(10.0)
        self.bell, far = socket.socketpair()
        self.bell.setblocking(False)
        self._qemu = subprocess.Popen(
            [QEMU, "-object", share, *MACHINE.split(), "-machine", "memory-backend=mb",
             "-chardev", f"socket,id=bell,fd={far.fileno()}", "-serial", "chardev:bell",
             "-qtest", f"unix:{probe}", "-qtest-log", "/dev/null", "-kernel", str(image.elf)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(far.fileno(),),
        )  # fmt: skip
        far.close()
        self._probe: socket.socket | None = None
        with waiting, contextlib.suppress(TimeoutError):
            self._probe = waiting.accept()[0]
            self._probe.settimeout(10.0)
        self._host = ctypes.CDLL(str(image.host))
        self._host.target_state.restype = ctypes.POINTER(ctypes.c_uint8)
        self._host.target_is_gone.restype = ctypes.c_bool
        wrong = int(self._host.target_attach(str(self._memory).encode(), self.bell.fileno()))
        if wrong:
            self.close()
            raise LinkError(f"the microcontroller cannot be used: {WRONG[wrong]}")

    @property
    def is_alive(self) -> bool:
        """Whether QEMU runs and the image answers."""
        return self._qemu.poll() is None and not self._host.target_is_gone()

    @property
    def state(self) -> bytes:
        """The firmware's memory, as the last step left it."""
        return bytes(self._host.target_state()[: self.state_bytes])

    @property
    def state_bytes(self) -> int:
        """Its size."""
        return int(self._host.target_state_size())

    @property
    def stack_bytes(self) -> int:
        """Most stack used since the last reset; looked at every 1 024 steps."""
        return int(self._host.target_stack_used())

    @property
    def boots(self) -> int:
        """Times the image began."""
        return int(self._host.target_boots())

    @property
    def bites(self) -> int:
        """Resets by the chip's own watchdog."""
        return int(self._host.target_bites())

    @property
    def faults(self) -> int:
        """Faults of the processor, such as an instruction that is none."""
        return int(self._host.target_faults())

    def read(self, address: int, count: int) -> bytes:
        """Bytes of the chip's memory, code included. LinkError when it is gone."""
        return bytes.fromhex(self._say(f"read {address:#x} {count:#x}").removeprefix("0x"))

    def write(self, address: int, data: bytes) -> None:
        """Puts bytes into the chip's memory while it runs, as a debug probe would. A reset loads
        the code again. LinkError when it is gone."""
        self._say(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def stand_still(self) -> None:
        """The next step never ends: a branch to itself lies at its beginning."""
        self.write(self.image.place("ecu_step") & ~1, STAND_STILL)

    def corrupt_code(self) -> None:
        """The next step runs into an instruction that is none."""
        self.write(self.image.place("ecu_step") & ~1, UNDEFINED)

    def _say(self, line: str) -> str:
        try:
            if self._probe is None:
                raise OSError("no connection")
            self._probe.sendall(f"{line}\n".encode())
            told = b""
            while not told.endswith(b"\n"):
                part = self._probe.recv(65536)
                if not part:
                    raise OSError("it has gone")
                told += part
        except OSError as error:
            raise LinkError(f"the microcontroller's probe: {error}") from error
        words = told.decode().split()
        if words[0] != "OK":
            raise LinkError(f"the microcontroller's probe: {told.decode().strip()}")
        return words[-1]

    def close(self) -> None:
        """Ends QEMU."""
        if self._probe is not None:
            self._probe.close()
        self._qemu.kill()
        self._qemu.wait()
        self.bell.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    made = build(Path("build/target"))
    print(
        f"{made.elf}: {made.flash_bytes} bytes of flash, {made.ram_bytes} of RAM beside its state"
    )
