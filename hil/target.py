"""The microcontroller in QEMU, with the firmware's image in it.

    library = build(Path("build/target"))      # image and the rig's side of the mailbox
    with Board(library, folder) as board: ...  # board.library fits ecu.h

Needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm, a C compiler for the
host and the source tree; `missing()` says what is not there.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bms.errors import BmsError, LinkError
from bms.firmware import image
from bms.firmware.image import CELLS, Image

QEMU = "qemu-system-arm"
MACHINE = "-M mps2-an386 -accel tcg -display none -nodefaults -monitor none"
MEMORY_BYTES = 16 << 20
STAND_STILL, UNDEFINED = bytes.fromhex("fee7"), bytes.fromhex("00de")  # Thumb: b . and udf #0
WRONG = {1: "its memory cannot be mapped", 2: "it does not answer", 3: "its structs differ"}


@dataclass(frozen=True)
class Target:
    """An image, and the shared library through which a rig reaches it."""

    image: Image
    host: Path


def missing() -> str:
    """What must be installed, as a command; empty when all is there."""
    return image.missing(**{QEMU: "qemu-system-arm"})


def build(folder: Path, cells: int = CELLS) -> Target:
    """Compile image and host side into a folder, unless they are newer than every source. cells:
    blocks in series it has memory for, 1 to 400. BmsError with the compiler's first error."""
    if lacking := missing():
        raise BmsError(f"the microcontroller needs: {lacking}")
    made, host = image.build(folder, cells), folder / "host.so"
    if image.is_stale(host):
        source = str(image.EXT / "target/host.c")
        image.run(["cc", "-shared", "-fPIC", "-O2", "-std=c99", *image.INCLUDES, source,
                   "-o", str(host)])  # fmt: skip
    return Target(made, host)


class Board:
    """QEMU with the image, attached to `library`: a shared library that fits ecu.h. One at a time
    in a process; any number of simulations with it."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.image, self.library = target.image, target.host
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
             "-qtest", f"unix:{probe}", "-qtest-log", "/dev/null",
             "-kernel", str(self.image.elf)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(far.fileno(),),
        )  # fmt: skip
        far.close()
        self._probe: socket.socket | None = None
        with waiting, contextlib.suppress(TimeoutError):
            self._probe = waiting.accept()[0]
            self._probe.settimeout(10.0)
        self._host = ctypes.CDLL(str(target.host))
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
    made = image.build(Path("build/target"))
    print(
        f"{made.elf}: {made.flash_bytes} bytes of flash, {made.ram_bytes} of RAM beside its state"
    )
