"""The monitor chips' serial line: opened, given to the runner, and opened again when it vanished.

`ChipsEnd` is where the chips sit (`bms emulate`): a pseudo-terminal that is made and linked to a
stable path, or a real port. `EcuEnd` is where the firmware sits (`bms ecu`): whatever path it is
told, which need not exist yet.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bms import _realtime
from bms.errors import LinkError

BAUD = 1_000_000  # of the BQ79616
RETRY_S = 0.5


class Runner(Protocol):
    """What has a line: bms._realtime.Emulator and Host."""

    parts: dict[str, dict[str, np.ndarray]]

    def set_line(self, fd: int, kind: int) -> None:
        """A descriptor for the line, taken at the next step; -1 none."""


def state_folder() -> Path:
    """Where links to pseudo-terminals live: of this user, and gone after a restart."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "solid-bms"
    return Path(tempfile.gettempdir()) / f"solid-bms-{os.getuid()}"


class End:
    """One end of the line. `place` is what the other end opens; `reason` why there is none."""

    def __init__(self, runner: Runner, path: str) -> None:
        self.runner, self.path = runner, path
        self.place, self.reason = "", ""
        self._fd, self._retry_s = -1, 0.0

    def look(self, now_s: float) -> None:
        """Open what is not open, a little later each time it failed; call it now and then."""
        if self._fd >= 0 and self.runner.parts["line"]["is_lost"][0]:
            self.reason = "the port vanished"
            self._drop()
            self._retry_s = now_s + RETRY_S
        if self._fd < 0 and now_s >= self._retry_s:
            self._retry_s = now_s + RETRY_S
            self._open()

    def _open(self) -> None:
        try:
            self._fd, kind = self._descriptor()
        except OSError as error:
            self.reason = f"{self.path}: {error.strerror}"
            return
        self.place, self.reason = self.path, ""
        self.runner.set_line(self._fd, kind)

    def _descriptor(self) -> tuple[int, int]:
        if os.path.realpath(self.path).startswith("/dev/pts/"):
            _refuse_old_link(self.path)
            return _realtime.open_client(self.path, 0), _realtime.PTY
        return _realtime.open_port(self.path, BAUD), _realtime.PORT

    def _drop(self) -> None:
        """The runner may be inside a read of it for some microseconds: it forgets it first."""
        self.runner.set_line(-1, 0)
        steps = int(self.runner.parts["pace"]["steps"][0])
        for _ in range(50):
            if int(self.runner.parts["pace"]["steps"][0]) > steps + 1:
                break
            time.sleep(1e-3)
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        """After the runner has stopped."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def status(self, now_us: int) -> dict[str, Any]:
        """For people and scripts."""
        line = self.runner.parts["line"]
        heard = int(line["heard_us"][0])
        return {
            "place": self.place,
            "state": "up" if self._fd >= 0 and not line["is_lost"][0] else "waiting",
            "reason": self.reason,
            "heard_ms": round((now_us - heard) / 1000) if heard else None,
            "bytes_in": int(line["bytes_in"][0]),
            "bytes_out": int(line["bytes_out"][0]),
            "bytes_dropped": int(line["bytes_dropped"][0]),
            "pulses": int(line["pulses"][0]),
            "errors": int(line["errors"][0]),
            "losses": int(line["losses"][0]),
        }


def _refuse_old_link(path: str) -> None:
    """A link whose maker was killed may point to a terminal that has become somebody else's: that
    is younger than the link."""
    if os.path.islink(path) and os.stat(path).st_ctime_ns > os.lstat(path).st_mtime_ns:
        raise OSError(errno.ESTALE, "a link left by a process that is gone")


class EcuEnd(End):
    """The control unit's end."""


class ChipsEnd(End):
    """The chips' end. `path` is a device, or "pty"; then `link` is the path that will point to
    it."""

    def __init__(self, runner: Runner, path: str, link: Path) -> None:
        super().__init__(runner, path)
        self.link = link
        if path != "pty":
            return
        try:
            link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd, self.place = _realtime.open_pty()
            _realtime.link_pty(self.place, str(link))
        except OSError as error:
            raise LinkError(
                f"{link}: cannot be made a link to the pseudo-terminal: {error.strerror};"
                " --link PATH chooses another place"
            ) from error
        runner.set_line(self._fd, _realtime.PTY)

    def _descriptor(self) -> tuple[int, int]:
        return _realtime.open_port(self.path, BAUD), _realtime.PORT

    def close(self) -> None:
        """After the runner has stopped."""
        if self.path == "pty" and self.place:
            _realtime.unlink_pty(self.place, str(self.link))
        super().close()

    def status(self, now_us: int) -> dict[str, Any]:
        """For people and scripts; "alone" while nobody holds the other end of the pty."""
        found = super().status(now_us)
        if self.path == "pty":
            found["link"] = str(self.link)
            if self._fd >= 0 and _realtime.is_alone(self._fd):
                found["state"] = "alone"
        return found
