"""Steps of a recording fed to a firmware, and the first output that differs."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bms import _firmware, _replay, cells, packs
from bms._replay import Replayer
from bms.errors import ConfigError, RecorderError
from bms.firmware import config as firmware_config
from bms.firmware import library
from bms.model import Cell, Pack
from bms.plant import chips as chips_build
from bms.recorder import Recording

if TYPE_CHECKING:
    from bms.sim import Simulation

FORMAT = 1
CONFIG_BYTES_MAX = 64 << 20


@dataclass(frozen=True)
class Firmware:
    """What is stepped: `address` of its functions, the configuration it is started with."""

    title: str
    address: int
    config: bytes
    keep: object = None  # holds a library in memory


@dataclass(frozen=True)
class Difference:
    """The first output that is not the recorded one. time_s: since the recording began."""

    time_s: float
    step: int
    field: str
    recorded: Any
    replayed: Any


@dataclass(frozen=True)
class Check:
    """steps and starts replayed; `first` is None when every output was equal."""

    steps: int
    starts: int
    seconds: float
    first: Difference | None


# ---- what a recording must hold ----


def origin(simulation: Simulation) -> dict[str, Any]:
    """What a recording with inputs must know to be replayed, for its metadata."""
    made = simulation.firmware
    loop = simulation.world.parts["loop"]
    known: dict[str, Any] = {
        "format": FORMAT,
        "config": _packed(simulation.config),
        "firmware": made.version if made else _firmware.version(),
        "library": str(made.path) if made else None,
        "library_hash": _hash(made.path) if made else None,
        "start_us": int(loop["start_us"][0]),
    }
    if int(loop["ecu_steps"][0]):  # the run goes on: its firmware is not new
        known["state"] = _packed(simulation.world.firmware_bytes.tobytes())
    return known


def begin(simulation: Simulation, recorder: Any) -> None:
    """Tell a recorder how the firmware was started, if that was just now."""
    loop = simulation.world.parts["loop"]
    if int(loop["ecu_steps"][0]) == 0:
        recorder.boot(0, int(loop["start_us"][0]), 0, loop["boot_entropy"].tobytes())


def recorded_firmware(rec: Recording) -> Firmware:
    """The firmware and configuration of a recording. RecorderError when it was made without inputs
    or its library is not the one it was."""
    known = _known(rec)
    config = _unpacked(rec, known["config"])
    if not known["library"]:
        return Firmware(f"built in, {_firmware.version()}", _firmware.api_address(), config)
    path = Path(known["library"])
    if not path.is_file() or _hash(path) != known["library_hash"]:
        raise RecorderError(
            f"{rec.path}: was made with the firmware {path}, which is gone or changed since"
        )
    made = library.load(path)
    return Firmware(f"{path.name}, {made.version}", made.address, config, made)


def other_firmware(rec: Recording, name: str) -> Firmware:
    """A shared library in place of the recorded firmware, or a pack or cell (name or TOML file) for
    another configuration of it. ConfigError for anything else."""
    recorded = recorded_firmware(rec)
    if name.endswith(".so"):
        made = library.load(name)
        return Firmware(f"{made.path.name}, {made.version}", made.address, recorded.config, made)
    config = _other_config(rec, name)
    return Firmware(f"{recorded.title}, {name}", recorded.address, config, recorded.keep)


def _other_config(rec: Recording, name: str) -> bytes:
    try:
        kept = rec.meta["configuration"]
        pack, cell = msgspec.convert(kept["pack"], Pack), msgspec.convert(kept["cell"], Cell)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise RecorderError(f"{rec.path}: its configuration cannot be used: {error}") from error
    if name in packs.names() or (name not in cells.names() and _is_pack(name)):
        pack = packs.load(name)
    else:
        cell = cells.load(name)
    packs.check(pack, cell)
    return firmware_config.build(cell, pack, identities=chips_build.identities(pack))


def _is_pack(name: str) -> bool:
    """Whether a TOML file describes a pack; cells have no topology."""
    path = Path(name)
    if not path.is_file():
        raise ConfigError("bms replay", "--against", name, "a .so, a pack or a cell")
    return "[topology]" in path.read_text("utf-8", "replace")


def _known(rec: Recording) -> dict[str, Any]:
    known = rec.meta.get("replay")
    if not isinstance(known, dict) or "ecu" not in rec.schema.names:
        raise RecorderError(
            f"{rec.path}: has no inputs of the firmware; record them with --record-inputs"
        )
    if known.get("format") != FORMAT:
        raise RecorderError(f"{rec.path}: inputs of format {known.get('format')}, not {FORMAT}")
    return known


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _unpacked(rec: Recording, text: object) -> bytes:
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(str(text)), CONFIG_BYTES_MAX)
    except (ValueError, zlib.error) as error:
        raise RecorderError(f"{rec.path}: its inputs are damaged: {error}") from error
    if not stream.eof:
        raise RecorderError(f"{rec.path}: its inputs are damaged")
    return data


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# ---- stepping ----


def replayer(
    rec: Recording, firmware: Firmware, *, sample_us: int = 0, stop: bool = False
) -> Replayer:
    """A Replayer at the beginning of a recording."""
    known, state = _known(rec), None
    if "state" in known:
        state = _unpacked(rec, known["state"])
        if firmware.config != _unpacked(rec, known["config"]) or firmware.keep is not None:
            raise RecorderError(
                f"{rec.path}: begins in the middle of a run: only its own firmware can go on there"
            )
    try:
        stepped = Replayer(
            firmware.address, firmware.config, state=state, sample_us=sample_us, stop=stop
        )
    except ValueError as error:
        raise RecorderError(f"{rec.path}: {error}: made by another build") from error
    stepped.keep = firmware
    return stepped


def feed(rec: Recording, stepped: Replayer) -> Iterator[int]:
    """Step through a recording; each reason to stop, such as _replay.SAMPLE, but the dull ones.
    RecorderError for steps that are missing or make no sense, ConfigError for a configuration the
    firmware refuses."""
    for data in rec.firmware_steps():
        at = 0
        while at < len(data):
            at, why = stepped.feed(data, at)
            time_s = stepped.now_us * 1e-6
            if why == _replay.MALFORMED:
                raise RecorderError(f"{rec.path}: its inputs make no sense at {time_s:.3f} s")
            if why == _replay.GAP:
                raise RecorderError(f"{rec.path}: inputs are missing behind {time_s:.3f} s")
            if why == _replay.REFUSED:
                code = f"ecu_init code {stepped.counts['refused']}"
                raise ConfigError(rec.path, "", code, "a configuration the firmware accepts")
            if why != _replay.DONE:
                yield why


def check(rec: Recording, firmware: Firmware | None = None) -> Check:
    """Replay a recording up to the first output that differs."""
    stepped = replayer(rec, firmware or recorded_firmware(rec), stop=True)
    first = None
    for _ in feed(rec, stepped):
        first = _difference(rec, stepped)
        break
    counts = stepped.counts
    if counts["steps"] == 0:
        raise RecorderError(f"{rec.path}: holds no step of the firmware")
    seconds = (stepped.now_us - counts["first_us"]) * 1e-6
    return Check(counts["steps"], counts["boots"], seconds, first)


def _difference(rec: Recording, stepped: Replayer) -> Difference:
    recorded, replayed = stepped.outputs()
    fields = [f for f in (*recorded, *replayed) if recorded.get(f) != replayed.get(f)]
    field = fields[0] if fields else "bytes"
    time_s = (stepped.now_us - int(_known(rec)["start_us"])) * 1e-6
    return Difference(
        time_s, stepped.counts["number"] - 1, field, recorded.get(field), replayed.get(field)
    )
