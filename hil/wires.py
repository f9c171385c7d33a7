"""The microcontroller in QEMU on its serial lines: monitor chips on one, CAN as SLCAN on two, and
a bench's line for pins and memory (ext/target/bench.h).

    library = build(Path("build/target"))
    with WiredBoard(library, config, folder) as board:   # config: of the pack, Simulation.config
        Simulation(..., firmware=board.library)

In lock-step the board waits for the bench each millisecond, and a run is the same bit for bit as
the host's. Free-running it waits for nobody: it steps on its own timer, whose millisecond lasts
`stretch` real ones, because the emulator moves about 40 kB/s through its serial lines and a pack
says more in a second. The pack follows the board's milliseconds one by one, as they come; bytes
and frames are on the way as long as the host takes. `config` says what the firmware is built for:
here with LINE_DELAY_MS, as at any bench whose lines have a way to go.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bms_hil.target import MACHINE, QEMU, missing

from bms.errors import BmsError
from bms.firmware import image
from bms.firmware.image import CELLS, Image

__all__ = ["LINE_DELAY_MS", "STRETCH", "Wired", "WiredBoard", "build", "missing"]

LINES = 4  # monitor chips, vehicle bus, bench, sensor bus
CONFIG, MAGIC = 0x2110_0000, 0x42454E43
BUFFER_BYTES = 1 << 20  # the kernel may give less
STRETCH = 10  # of a millisecond: what an emulated board keeps up with on a busy machine; 5 is not
LINE_DELAY_MS = 12  # what a question to the chips and its answer may be on the way, free-running


@dataclass(frozen=True)
class Wired:
    """An image with serial drivers, and the shared library that is the other end of its lines."""

    image: Image
    host: Path


def build(folder: Path, cells: int = CELLS) -> Wired:
    """Compile both into a folder; see bms_hil.target.build."""
    if lacking := missing():
        raise BmsError(f"the microcontroller needs: {lacking}")
    made, host = image.build_wires(folder, cells), folder / "bench_host.so"
    if image.is_stale(host):
        sources = [
            str(image.EXT / p) for p in ("target/bench_host.c", "links/slcan.c", "links/frame.c")
        ]
        image.run(["cc", "-shared", "-fPIC", "-O2", "-std=c99", *image.INCLUDES, *sources,
                   "-o", str(host)])  # fmt: skip
    return Wired(made, host)


class WiredBoard:
    """QEMU with the image; `library` fits ecu.h and is the other end of the lines. One at a time in
    a process, and one simulation with it: its state lies in the board. stretch: 0 is lock-step."""

    def __init__(self, wired: Wired, config: bytes, folder: Path, *, stretch: int = 0) -> None:
        self.library, self.stretch = wired.host, stretch
        told = folder / "config.bin"
        told.write_bytes(struct.pack("<4I", MAGIC, len(config), stretch, 0) + config)
        pairs = [socket.socketpair() for _ in range(LINES)]
        self._near = [near for near, _ in pairs]
        for end in (end for pair in pairs for end in pair):  # a byte in flight costs a kilobyte
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        far = [end.fileno() for _, end in pairs]
        lines = [
            word for k, fd in enumerate(far)
            for word in ("-chardev", f"socket,id=line{k},fd={fd}", "-serial", f"chardev:line{k}")
        ]  # fmt: skip
        self._qemu = subprocess.Popen(
            [QEMU, *MACHINE.split(), *lines, "-kernel", str(wired.image.elf),
             "-device", f"loader,file={told},addr={CONFIG:#x},force-raw=on"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=far,
        )  # fmt: skip
        for _, end in pairs:
            end.close()
        self._host = ctypes.CDLL(str(wired.host))
        self._host.bench_is_gone.restype = ctypes.c_bool
        fds = (ctypes.c_int * LINES)(*(near.fileno() for near in self._near))
        self._host.bench_attach(fds, ctypes.c_bool(stretch > 0))

    @property
    def is_alive(self) -> bool:
        """Whether QEMU runs and the image answers."""
        return self._qemu.poll() is None and not self._host.bench_is_gone()

    def close(self) -> None:
        """Ends QEMU."""
        self._qemu.kill()
        self._qemu.wait()
        for near in self._near:
            near.close()

    def __enter__(self) -> WiredBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
