"""Recordings in everybody else's formats, one file a format.

    convert("run.arrow", "run.mf4")            signals, events and bus logging
    convert("log.blf", "run.arrow", dbc=...)   a bus log becomes a recording (`intake.py`)

A format is a module here with

    TITLE: str                     what people call it
    SUFFIXES: tuple[str, ...]      how its files end
    HOLDS: tuple[str, ...]         of "signals", "events", "frames"
    EXTRA: str                     the extra of pyproject.toml it needs, "" for none
    def write(source, path, options) -> str    writes the file, says in words what is in it

and imports what is heavy inside `write`. Everything is read and written batch by batch, so the
memory needed does not grow with the length of the run. A file appears under its name only when it
is whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from bms.errors import ConfigError, RecorderError
from bms.recorder import Recording, logs
from bms.recorder.export.source import Source

RECORDING = ("arrow", (".arrow", ".feather", ".ipc"))
HELPERS = ("source", "intake")


@dataclass(frozen=True)
class Options:
    """What a format may be told. `dbc`: description of the frames; `cell`: which cell a format
    that knows only one cell shall hold, -1 for the pack as a whole."""

    dbc: Path | None = None
    cell: int = -1


class Format(Protocol):
    """The contract of a module here; see above."""

    TITLE: str
    SUFFIXES: tuple[str, ...]
    HOLDS: tuple[str, ...]
    EXTRA: str

    def write(self, source: Source, path: Path, options: Options) -> str:
        """Write the file; what is in it, in words."""


def formats() -> dict[str, Format]:
    """Every format by name."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py") if p.stem not in HELPERS)
    modules: dict[str, ModuleType] = {n: import_module(f"{__name__}.{n}") for n in names}
    return {name: cast(Format, module) for name, module in modules.items()}


def convert(
    given: Path,
    out: Path,
    *,
    to: str = "",
    signals: Sequence[str] = (),
    from_s: float | None = None,
    to_s: float | None = None,
    options: Options | None = None,
) -> str:
    """Convert a recording or a bus log into `out`; what was written, in words.

    The format is `to`, else it follows from the end of the name. signals: names or patterns such as
    `est_*`; none means all. from_s, to_s: keep only this span of the recording's time. Raises
    ConfigError for what cannot be asked for, RecorderError for a damaged file or a full disk.
    """
    options = options or Options()
    name = to or format_of(out)
    known = (RECORDING[0], *formats())
    if name not in known:
        raise ConfigError("option", "--to", name, "one of " + ", ".join(known))
    if not given.exists():
        raise ConfigError("option", "FILE", str(given), "a recording or a bus log")
    if given.resolve() == out.resolve():
        raise ConfigError("option", "OUT", str(out), "another file than the one that is read")
    log = logs.kind_of(given)
    if name == RECORDING[0]:
        return _take_in(given, out, log, signals, options)
    kind = formats()[name]
    if not log:
        with Recording.open(given) as recording:
            return _write(Source.of(recording, signals, from_s, to_s), out, kind, name, options)
    if "frames" not in kind.HOLDS:
        raise ConfigError(
            "option", "--to", name, "a format of frames; convert the log to a recording first"
        )
    return _write(Source.of_log(given, from_s, to_s), out, kind, name, options)


def format_of(out: Path) -> str:
    """The format that the end of a name asks for. ConfigError when none does."""
    table = {RECORDING[0]: RECORDING[1], **{n: f.SUFFIXES for n, f in formats().items()}}
    found = [
        (len(suffix), name)
        for name, suffixes in table.items()
        for suffix in suffixes
        if out.name.lower().endswith(suffix)
    ]
    if not found:
        ends = ", ".join(suffix for suffixes in table.values() for suffix in suffixes)
        raise ConfigError("option", "OUT", out.name, f"a name that ends in one of {ends}, or --to")
    return max(found)[1]


def _take_in(given: Path, out: Path, log: str, signals: Sequence[str], options: Options) -> str:
    from bms.recorder.export import intake

    if not log:
        raise ConfigError("option", "FILE", str(given), "a bus log, to make a recording of")
    with _Place(out) as part:
        return intake.record(given, part, options.dbc, signals)


def _write(source: Source, out: Path, kind: Format, name: str, options: Options) -> str:
    with _Place(out) as part:
        try:
            return kind.write(source, part, options)
        except ImportError as error:
            raise ConfigError(
                "option", "--to", name, f"the package {error.name}: "
                f"pip install 'solid-bms[{kind.EXTRA or 'export'}]'",
            ) from error  # fmt: skip


class _Place:
    """A file that takes its name when it is whole, and leaves nothing behind when it is not."""

    def __init__(self, out: Path) -> None:
        self.out, self.part = out, out.with_name(f".part-{os.getpid()}-{out.name}")

    def __enter__(self) -> Path:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            if self.out.is_dir():
                raise IsADirectoryError(21, "it is a folder")
            self.part.touch()
        except OSError as error:
            raise ConfigError(
                "option", "OUT", str(self.out), f"a place that can be written ({error.strerror})"
            ) from error
        return self.part

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        try:
            if kind is None:
                os.replace(self.part, self.out)
        finally:
            self.part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RecorderError(f"{self.out}: cannot be written: {error.strerror}") from error
