"""The only source of messages, diagnoses, pins and recorded signals, and the way Python reads it.

    bms.dbc          messages of the vehicle bus        database(), state_name(2)
    diagnoses.toml   what the firmware can conclude     diagnoses(), diagnosis("crash")
    pins.toml        digital pins of the control unit   pins(), pin("interlock")
    signals.toml     every recorded signal              signals(), signal("est_soc_frac")

`tools/generate.py` makes the C headers and the tables in docs/ from the same files. Everything is
read on first use. A file that contradicts itself raises ConfigError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from bms import config
from bms.errors import ConfigError
from bms.model import Frozen

FOLDER = Path(__file__).parent
DBC, DIAGNOSES, PINS, SIGNALS = (
    FOLDER / name for name in ("bms.dbc", "diagnoses.toml", "pins.toml", "signals.toml")
)
DIAGNOSES_A_PAGE = 56
"""Bits of BmsDiagnosis.Active."""

Group = Literal[
    "voltage", "current", "temperature", "pressure", "insulation", "measurement", "contactor",
    "external", "system",
]  # fmt: skip
GROUPS: tuple[str, ...] = Group.__args__  # type: ignore[attr-defined]
"""Trip flags in the order of their bits in BmsState."""


class Tier(IntEnum):
    """How far a limit is exceeded; the numbers of BmsEvent.Tier."""

    none = 0
    operate = 1
    warn = 2
    trip = 3


Sample = Literal["voltages", "current", "gpio", "insulation", "tick", "step", "event", "request"]
SAMPLES: tuple[str, ...] = Sample.__args__  # type: ignore[attr-defined]
Reaction = Literal["none", "derate", "inhibit_charge", "inhibit", "trip"]
REACTIONS: tuple[str, ...] = Reaction.__args__  # type: ignore[attr-defined]


class Diagnosis(Frozen, frozen=True):
    """One conclusion of the firmware. The head of diagnoses.toml explains every field."""

    id: int
    name: str
    title: str
    group: Group
    tiers: tuple[Literal["operate", "warn", "trip"], ...]
    trigger: str
    sample: Sample
    debounce_samples: int
    debounce_ms: int
    reaction: Reaction
    latch: bool
    clear: str
    deadline_ms: int
    index: Literal["none", "block", "module", "sensor"]
    unit: Literal["1", "mV", "mA", "cdegc", "kpa", "kohm", "ms", "permille", "cpct"]
    source: str
    thresholds: tuple[int, int, int] = (0, 0, 0)
    service: bool = False
    window_ms: int = 0
    clear_ms: int = 1000


class Pin(Frozen, frozen=True):
    """One digital level of the control unit; `safe` is what to assume when it cannot be known."""

    name: str
    bit: int
    safe: Literal[0, 1]
    text: str
    direction: Literal["input", "output"] = "input"

    @property
    def mask(self) -> int:
        """1 << bit."""
        return 1 << self.bit


class Signal(Frozen, frozen=True, rename={"source": "from"}):
    """One recorded signal. The head of signals.toml explains every field; `source` is its key
    `from`.
    """

    name: str
    unit: str
    kind: Literal["truth", "measured", "estimated", "command"]
    rate: Literal["pack", "cells", "slow"]
    source: str
    text: str
    count: Literal["", "blocks", "cells", "modules", "sensors"] = ""
    message: str = ""
    scale: float = 1.0
    offset: float = 0.0


class _Diagnoses(Frozen, frozen=True):
    diagnosis: tuple[Diagnosis, ...]


class _Pins(Frozen, frozen=True):
    input: tuple[Pin, ...]
    output: tuple[Pin, ...]


class _Signals(Frozen, frozen=True):
    signal: tuple[Signal, ...]


# ---- reading, with what a type cannot say ----


def read_diagnoses(path: str | Path) -> tuple[Diagnosis, ...]:
    """Rows by rising id. ConfigError for an unknown key, a repeated id or name, or a row that
    contradicts itself.
    """
    rows = config.load(path, _Diagnoses).diagnosis
    _unique(path, "diagnosis", "id", [row.id for row in rows])
    _unique(path, "diagnosis", "name", [row.name for row in rows])
    for i, row in enumerate(rows):
        _check_diagnosis(path, f"diagnosis[{i}]", row)
    return tuple(sorted(rows, key=lambda row: row.id))


def _check_diagnosis(path: str | Path, key: str, row: Diagnosis) -> None:
    config.between(path, f"{key}.id", row.id, 1, 255)
    config.require(row.name.isidentifier(), path, f"{key}.name", row.name, "a name in snake_case")
    config.between(path, f"{key}.debounce_samples", row.debounce_samples, 1, 65535)
    config.between(path, f"{key}.debounce_ms", row.debounce_ms, 1, row.deadline_ms)
    config.between(path, f"{key}.clear_ms", row.clear_ms, 1, 3_600_000)
    order = [Tier[tier] for tier in row.tiers]
    config.require(
        bool(order) and order == sorted(set(order)),
        path,
        f"{key}.tiers",
        row.tiers,
        "tiers in order",
    )
    trips = row.reaction == "trip"
    config.require(
        trips == ("trip" in row.tiers) or row.reaction.startswith("inhibit"),
        path, f"{key}.reaction", row.reaction, "trip where, and only where, there is a trip tier",
    )  # fmt: skip
    config.require(
        row.latch or not trips, path, f"{key}.latch", row.latch, "true, because it trips"
    )
    config.require(
        row.latch or not row.service, path, f"{key}.service", row.service, "false: no latch"
    )
    for tier, threshold in zip((Tier.operate, Tier.warn, Tier.trip), row.thresholds, strict=True):
        config.require(
            not threshold or tier in order, path, f"{key}.thresholds", row.thresholds,
            f"0 for {tier.name}, which is not among its tiers",
        )  # fmt: skip


def read_pins(path: str | Path) -> tuple[Pin, ...]:
    """Inputs, then outputs, each by bit. ConfigError for an unknown key or a name or bit twice."""
    file = config.load(path, _Pins)
    pins: list[Pin] = []
    for direction, rows in (("input", file.input), ("output", file.output)):
        _unique(path, direction, "bit", [row.bit for row in rows])
        _unique(path, direction, "name", [row.name for row in rows])
        for i, row in enumerate(sorted(rows, key=lambda row: row.bit)):
            config.between(path, f"{direction}[{i}].bit", row.bit, 0, 31)
            pins.append(msgspec.structs.replace(row, direction=direction))
    return tuple(pins)


def read_signals(path: str | Path) -> tuple[Signal, ...]:
    """Rows in file order. ConfigError for an unknown key, a repeated name, or a prefix that does
    not say the kind.
    """
    rows = config.load(path, _Signals).signal
    _unique(path, "signal", "name", [row.name for row in rows])
    prefixes = {"truth": "true_", "measured": "meas_", "estimated": "est_", "command": "cmd_"}
    for i, row in enumerate(rows):
        start = prefixes[row.kind]
        config.require(
            row.name.startswith(start),
            path,
            f"signal[{i}].name",
            row.name,
            f"{start}... for {row.kind}",
        )
        config.require(
            row.source.count(".") == 1,
            path,
            f"signal[{i}].from",
            row.source,
            "part.field of the world",
        )
    return rows


def _unique(path: str | Path, table: str, key: str, values: Sequence[Any]) -> None:
    for i, value in enumerate(values):
        config.require(
            value not in values[:i],
            path,
            f"{table}[{i}].{key}",
            value,
            f"another {key}: this one is taken",
        )


# ---- what the rest of the program asks ----


@lru_cache(maxsize=1)
def diagnoses() -> tuple[Diagnosis, ...]:
    """All diagnoses by rising id."""
    return read_diagnoses(DIAGNOSES)


def diagnosis(key: int | str) -> Diagnosis:
    """The diagnosis of an id or a name; ConfigError if there is none."""
    for row in diagnoses():
        if key in (row.id, row.name):
            return row
    raise ConfigError(DIAGNOSES.name, "diagnosis", key, "the id or name of a diagnosis")


def diagnosis_name(code: int) -> str:
    """Name of an id as it came from a frame; "diagnosis 77" for one that is not in the table,
    "none" for 0.
    """
    names = {row.id: row.name for row in diagnoses()}
    return names.get(code, f"diagnosis {code}" if code else "none")


@lru_cache(maxsize=1)
def pins() -> tuple[Pin, ...]:
    """All pins: inputs by bit, then outputs by bit."""
    return read_pins(PINS)


def pin(name: str) -> Pin:
    """The pin of a name; ConfigError if there is none."""
    for row in pins():
        if row.name == name:
            return row
    raise ConfigError(PINS.name, "pin", name, "the name of a pin")


@lru_cache(maxsize=1)
def signals() -> tuple[Signal, ...]:
    """Every recorded signal, in the order of the file."""
    return read_signals(SIGNALS)


def signal(name: str) -> Signal:
    """The recorded signal of a name; ConfigError if there is none."""
    for row in signals():
        if row.name == name:
            return row
    raise ConfigError(SIGNALS.name, "signal", name, "the name of a recorded signal")


@lru_cache(maxsize=1)
def database() -> Any:
    """bms.dbc as a cantools database (loads cantools: about 0.1 s)."""
    import cantools

    return cantools.database.load_file(str(DBC), database_format="dbc", strict=True)


@cache
def choices(message: str, name: str) -> dict[int, str]:
    """The enumeration of a signal: number to word. Empty if it has none. Read without cantools,
    which a process that only names states need not wait for; KeyError for no such signal."""
    text = DBC.read_text("utf-8")
    found = re.search(
        rf"^BO_ (\d+) {message}:(?:.*\n)(?: .*\n)*? SG_ {name} .*?: \d+\|(\d+)@[01]([+-])",
        text, re.MULTILINE,
    )  # fmt: skip
    if found is None:
        raise KeyError(f"{message}.{name}")
    frame, bits, sign = found.groups()
    words = re.search(rf"^VAL_ {frame} {name} (.*);", text, re.MULTILINE)
    pairs = re.findall(r'(-?\d+) "([^"]*)"', words[1]) if words else []
    over = 1 << int(bits) - (sign == "-")  # a DBC writes raw values, without their sign
    return {int(n) - (2 * over if int(n) >= over else 0): word for n, word in pairs}


def state_name(code: int) -> str:
    """Word for a number of BmsState.State; "state 15" for one that has none."""
    return choices("BmsState", "State").get(code, f"state {code}")


def state_number(name: str) -> int:
    """Number of a state; ConfigError names the states there are."""
    states = choices("BmsState", "State")
    for number, word in states.items():
        if word == name:
            return number
    raise ConfigError(DBC.name, "BmsState.State", name, "one of " + ", ".join(states.values()))
