"""Benchmarks: each module here with `rows(options) -> list[Row]` is one, run by `bms bench NAME`.

A figure is the median of several repetitions, and everything compared is measured in the same
run, in turns (`interleaved`), so that a machine that slows down slows all sides. A row says what
would be the best possible and where that figure is from, so that "fast" always has a scale.

A benchmark module may also have `arguments(parser)` for options of its own; `options` is the
parsed namespace, always with `repetitions`. The first line of its docstring is its title in the
list.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from bms.errors import ConfigError

__all__ = [
    "Row",
    "Spread",
    "interleaved",
    "load",
    "machine",
    "measured",
    "names",
    "result",
    "seconds",
]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `peer` is what `peer_name` reaches on the same work, `limit` what the machine
    allows; None is not known. `peer_install` is the line that would make a missing peer appear; it
    is for the table only.
    """

    name: str
    ours: float | None
    unit: str
    better: Literal["higher", "lower"]
    peer: float | None = None
    peer_name: str | None = None
    limit: float | None = None
    limit_source: str | None = None
    peer_install: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The eight published keys."""
        return {key: getattr(self, key) for key in self.__struct_fields__ if key != "peer_install"}


class Spread(msgspec.Struct, frozen=True):
    """The repetitions of one measurement."""

    median: float
    lowest: float
    highest: float
    count: int


def names() -> list[str]:
    """Every benchmark, found by its file."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in files if "\ndef rows(" in path.read_text("utf-8"))


def load(name: str) -> ModuleType:
    """The benchmark called `name`; ConfigError when there is none."""
    if name not in names():
        raise ConfigError("bms bench", "NAME", name, "one of " + ", ".join(names()))
    return import_module(f"{__name__}.{name}")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(values: list[float]) -> Spread:
    """Median and range of repetitions of one measurement."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def interleaved(measure: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, Spread]:
    """Take every measurement `repetitions` times, in turns, another one first each round.

    Each callable returns one value of its own (use `seconds` for a time). One unrecorded round
    warms caches up first.
    """
    order = list(measure)
    values: dict[str, list[float]] = {name: [] for name in order}
    for work in measure.values():
        work()
    for _ in range(repetitions):
        for name in order:
            values[name].append(measure[name]())
        order = order[1:] + order[:1]
    return {name: measured(values[name]) for name in measure}


def _first(path: str, pattern: str) -> str | None:
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else None


def compiler_of(module: Path) -> str | None:
    """The compiler's own mark in a compiled file (the ELF .comment section), or None."""
    found = re.search(
        rb"GCC: \([^)]*\) [0-9.]+|[A-Za-z ]*clang version [0-9.]+", module.read_bytes()
    )
    return found.group(0).decode().strip() if found else None


def compiled_modules() -> dict[str, Path]:
    """Our compiled modules, name to file."""
    files = Path(__file__).resolve().parent.parent.glob("_*.so")
    return {path.name.split(".")[0]: path for path in sorted(files)}


def machine() -> dict[str, Any]:
    """What the figures were taken on: processor, memory, system, Python, compiler, load."""
    governor = _first("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", r"(\w+)")
    memory_kib = _first("/proc/meminfo", r"^MemTotal:\s+(\d+)")
    compilers = {compiler_of(path) for path in compiled_modules().values()} - {None}
    return {
        "cpu": _first("/proc/cpuinfo", r"^model name\s*:\s*(.+)$")
        or platform.processor()
        or platform.machine(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "governor": governor,
        "memory_gib": round(int(memory_kib) / 2**20, 1) if memory_kib else None,
        "os": platform.platform(),
        "python": platform.python_version(),
        "compiler": ", ".join(sorted(str(name) for name in compilers)) or None,
        "load_1min": round(os.getloadavg()[0], 2),
    }


def result(name: str, rows: list[Row]) -> dict[str, Any]:
    """The published object of one benchmark."""
    from bms.result import commit

    return {
        "bench": name,
        "machine": machine(),
        "commit": commit(),
        "rows": [row.as_dict() for row in rows],
    }
