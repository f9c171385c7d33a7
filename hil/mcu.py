"""The firmware as ARM code on an emulated microcontroller, in lock-step virtual time.

The same plant and the same tests as `sil`; only the firmware's instructions are others. Nothing is
copied between tests: the target keeps its own state, so each state is reached anew.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bms_hil import target
from bms_hil.plugin import RigDied
from bms_hil.rig import RigFile
from bms_hil.sil import Sil

from bms.errors import BmsError, ConfigError

KIND = True


class Mcu(Sil):
    """See bms_hil.rig.Rig."""

    capabilities = Sil.capabilities | {"target_memory"}

    def __init__(self, file: RigFile) -> None:
        super().__init__(file)
        self.name = "mcu"
        self._folder = Path(tempfile.mkdtemp(prefix="bms-hil-"))
        self.image = target.build(Path("build/target"))
        self.board = target.Board(self.image, self._folder)
        self._firmware = str(self.image.host)

    def bring_to(
        self, state: str, *, soc_frac: float | None = None, temperature_degc: float | None = None
    ) -> None:
        self._ready.clear()
        super().bring_to(state, soc_frac=soc_frac, temperature_degc=temperature_degc)

    def _advance(self, seconds: float) -> None:
        super()._advance(seconds)
        if not self.board.is_alive:
            raise RigDied("the microcontroller does not answer any more")

    def flip(self, place: int, bit: int) -> None:
        """Flips a bit of the firmware's memory."""
        self.board.flip(place, bit)

    def identity(self) -> dict[str, str]:
        return super().identity() | {"device": "solid-bms firmware, Cortex-M4F", "rig": "mcu"}

    def grade(self) -> dict[str, float]:
        return super().grade() | {
            "flash_bytes": self.image.flash_bytes, "ram_bytes": self.image.ram_bytes,
            "state_bytes": self.board.state_bytes, "stack_bytes": self.board.stack_bytes,
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
        raise BmsError(f"rig mcu needs: {lacking}")
    return Mcu(file)
