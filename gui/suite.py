"""A run of requirement tests in a process of its own, told by JSON lines (`bms hil --events -`)."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyqtgraph.Qt import QtCore

PROGRAM = (sys.executable, "-m", "bms.cli", "hil")
LINE_MAX = 1_000_000
KEPT_ERRORS = 40
PATIENCE_MS = 3000
"""How long a run that is stopped may take to tidy up before it is ended."""
VERDICTS = ("pass", "fail", "skip", "not_run")


@dataclass(frozen=True)
class Verdict:
    """One test, as told. measured, limit: NaN where there is none."""

    id: str
    requirements: tuple[str, ...]
    verdict: str
    text: str
    measured: float
    limit: float
    unit: str
    seconds: float
    recording: str


@dataclass
class Told:
    """What a run has told so far. malformed: lines that were none of the agreed ones."""

    total: int = 0
    rig: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    report: str = ""
    is_over: bool = False
    malformed: int = 0

    def count(self, verdict: str) -> int:
        """How many tests came to it."""
        return sum(v.verdict == verdict for v in self.verdicts)

    def hear(self, line: bytes) -> None:
        """One line of the other side; never raises, whatever it is."""
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "start":
                self.total, self.rig = int(event["tests"]), str(event["rig"])
            elif kind == "test":
                self.verdicts.append(_verdict(event))
            elif kind == "end":
                self.report, self.is_over = str(event.get("report") or ""), True
            else:
                self.malformed += 1
        except (ValueError, KeyError, TypeError, AttributeError):
            self.malformed += 1


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _verdict(event: dict[str, Any]) -> Verdict:
    if event["verdict"] not in VERDICTS:
        raise ValueError(event["verdict"])
    return Verdict(
        str(event["id"]),
        tuple(str(r) for r in event.get("requirements") or ()),
        event["verdict"],
        str(event.get("text") or ""),
        _number(event.get("measured")),
        _number(event.get("limit")),
        str(event.get("unit") or ""),
        _number(event.get("seconds")),
        str(event.get("recording") or ""),
    )


class Suite(QtCore.QObject):
    """Starts, hears and stops a run. changed: there is something new."""

    changed = QtCore.Signal()

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self.told = Told()
        self.message = ""
        self.errors: list[str] = []
        self.folder = Path.cwd()
        self.program: tuple[str, ...] = PROGRAM
        self._rest = b""
        self._stopping = False
        self._process: QtCore.QProcess | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def start(self, arguments: list[str]) -> None:
        """Runs the tests; nothing while a run is under way."""
        if self._process is not None:
            return
        self.told, self.message, self.errors, self._rest = Told(), "starting", [], b""
        self._stopping = False
        process = QtCore.QProcess(self)
        process.setWorkingDirectory(str(self.folder))
        process.readyReadStandardOutput.connect(self._hear)
        process.readyReadStandardError.connect(self._hear_errors)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._failed)
        self._process = process
        process.start(self.program[0], [*self.program[1:], *arguments, "--events", "-"])
        self.changed.emit()

    def stop(self) -> None:
        """Asks the run to end, as Ctrl-C would; ends it if it does not."""
        process = self._process
        if process is None:
            return
        self._stopping, self.message = True, "stopping"
        if process.processId():
            os.kill(process.processId(), signal.SIGINT)
        QtCore.QTimer.singleShot(PATIENCE_MS, lambda: self._end(process))
        self.changed.emit()

    def _end(self, process: QtCore.QProcess) -> None:
        if process is self._process:
            process.kill()

    def _hear(self) -> None:
        assert self._process is not None
        self._rest += bytes(self._process.readAllStandardOutput().data())
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line.strip():
                self.told.hear(line)
        if len(self._rest) > LINE_MAX:
            self._rest, self.told.malformed = b"", self.told.malformed + 1
        self.message = ""
        self.changed.emit()

    def _hear_errors(self) -> None:
        assert self._process is not None
        text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
        self.errors = [*self.errors, *text.splitlines()][-KEPT_ERRORS:]

    def _failed(self, error: QtCore.QProcess.ProcessError) -> None:
        if error == QtCore.QProcess.ProcessError.FailedToStart:
            self.message = f"The tests could not be started: {self.program[0]} does not run."
            self._process = None
            self.changed.emit()

    def _ended(self, code: int, _: object) -> None:
        if self._process is not None:
            self._hear()
            self._hear_errors()
        self._process = None
        if self._stopping:
            self.message = "Stopped."
        elif not self.told.is_over:
            last = next((e for e in reversed(self.errors) if e.strip()), "")
            self.message = f"The run ended without a result (exit code {code}). {last}".strip()
        self.changed.emit()
