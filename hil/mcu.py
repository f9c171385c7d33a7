"""The firmware as ARM code on an emulated microcontroller, in lock-step virtual time.

The same plant and the same tests as `sil`; only the firmware's instructions are others. Faults act
on the chip: a bit of memory flips in the chip's memory, a reset resets the chip, and a control unit
that hangs is a program that stands still until the chip's own watchdog bites.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

from bms_hil import target
from bms_hil.plugin import RigDied
from bms_hil.rig import Injection, RigFile, RigMissing
from bms_hil.sil import Sil
from bms_hil.verdicts import Log

from bms import faults
from bms.errors import ConfigError

KIND = True
HANG = "SYS-03"
HURTS = (HANG, "SYS-04")  # after which the chip may have to be reset by its watchdog


class Mcu(Sil):
    """See bms_hil.rig.Rig."""

    capabilities = Sil.capabilities | {"target"}

    def __init__(self, file: RigFile) -> None:
        super().__init__(file)
        self.name = "mcu"
        self._folder = Path(tempfile.mkdtemp(prefix="bms-hil-"))
        cells = max(target.CELLS, self.pack.topology.blocks)
        built = target.build(Path("build/target"), cells)
        self.image = built.image
        self.board = target.Board(built, self._folder)
        self._firmware = str(built.host)
        self._hangs_s = math.inf  # when the program shall stand still
        self._stack_bytes = 0
        self._bites, self._is_hurt = 0, False  # before this test; whether it wants a bite

    def begin(self, log: Log) -> None:
        super().begin(log)
        self._hangs_s = math.inf
        self._bites, self._is_hurt = self.board.bites, False

    def missed(self) -> str:
        """As Rig.missed: a bite that nothing in the test explains. The emulated chip's watchdog
        runs with this computer's clock, which may have stood still for seconds."""
        bites = 0 if self._is_hurt else self.board.bites - self._bites
        return f"the chip's watchdog bit {bites} times unasked" if bites else ""

    def _advance(self, seconds: float) -> None:
        before_s = self._hangs_s - self._running.time_s
        if before_s < seconds:
            super()._advance(max(0.0, before_s))
            self.board.stand_still()
            self._hangs_s = math.inf
            seconds -= max(0.0, before_s)
        super()._advance(seconds)
        self._stack_bytes = max(self._stack_bytes, self.board.stack_bytes)
        if not self.board.is_alive:
            raise RigDied("the microcontroller does not answer any more")

    def inject(
        self, fault: str, *, index: int = 0, value: float | None = None, after_s: float = 0.0,
        ramp_s: float | None = None, for_s: float | None = None,
    ) -> Injection:  # fmt: skip
        """A fault of the catalogue. In one that hangs the control unit the chip itself stands
        still until its watchdog bites, however long was asked for."""
        self._is_hurt |= fault in HURTS
        if fault == HANG:
            self._hangs_s = self._running.time_s + after_s
            value = faults.fault(fault).lowest  # begins in the world, so that it is told
        return super().inject(
            fault, index=index, value=value, after_s=after_s, ramp_s=ramp_s, for_s=for_s
        )

    @property
    def watchdog_bites(self) -> int:
        """Resets by the chip's own watchdog so far."""
        return self.board.bites

    @property
    def memory_bytes(self) -> int:
        """Bytes of the firmware's memory, which the fault SYS-04 flips bits of."""
        return self.board.state_bytes

    def corrupt_code(self) -> None:
        """Puts an undefined instruction in the program's way; a reset loads the code again."""
        self._is_hurt = True
        self.board.corrupt_code()

    def identity(self) -> dict[str, str]:
        return super().identity() | {"device": "solid-bms firmware, Cortex-M4F", "rig": "mcu"}

    def grade(self) -> dict[str, float]:
        return super().grade() | {
            "flash_bytes": self.image.flash_bytes,
            "ram_bytes": self.image.ram_bytes + self.board.state_bytes,
            "stack_bytes": self._stack_bytes, "watchdog_bites": self.board.bites,
        }  # fmt: skip

    def close(self) -> None:
        super().close()
        self.board.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def open_rig(file: RigFile) -> Mcu:
    """See bms_hil.rig.open_rig."""
    if file.options:
        key = next(iter(file.options))
        raise ConfigError(file.file, f"options.{key}", file.options[key], "nothing: mcu has none")
    if lacking := target.missing():
        raise RigMissing(f"rig mcu needs: {lacking}")
    return Mcu(file)
