"""The log of a real bus given to our firmware: what would it have said of that battery?

A mapping (TOML) says which signals of the log are the battery's voltages, current and temperatures.
They take the place of the plant; monitor chips, sensors, wires and firmware are ours and whole, so
the firmware measures them as it would have, and its answers are recorded beside them. It is first
brought to the requested state on the first values, without current. A value outside the range that
the database gives its signal, as many send for "not available", is no value.

    pack = "car_96s1p"              # a pack, and a cell if it has another than the pack's
    dbc = "other.dbc"               # how to read the log; absent: our own
    request = "drive"               # what the vehicle asks for: standby, drive or charge

    [[map]]
    to = "pack_current_a"           # see TARGETS; positive discharges
    signal = "Pack.Current"         # Message.Signal
    scale = -0.1                    # value = scale * signal + offset; absent 1 and 0

    [[map]]
    to = "block_voltage_v"
    signals = ["Cells.V0", "Cells.V1", "Cells.V2", "Cells.V3"]
    index = "Cells.Group"           # element = index * number of signals + place; absent: place
    scale = 0.001
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bms import _loop, config, spec
from bms.errors import ConfigError
from bms.recorder import Writer
from bms.recorder.logs import ERROR, EXTENDED, REMOTE, open_log

if TYPE_CHECKING:
    from bms.sim import Simulation

TICK_US = 10_000
GAP_S = 3600.0  # a longer silence is a log of two days, not a rest
TARGETS = (
    "pack_current_a", "pack_voltage_v", "link_voltage_v", "block_voltage_v", "temperature_degc",
    "module_pressure_kpa", "insulation_kohm", "contactors", "ambient_degc", "reference_soc_frac",
)  # fmt: skip
STATES = {"standby": "standby", "drive": "normal_drive", "charge": "normal_charge"}
BRING_UP_S = 10.0  # a start takes half of it
NEEDED = ("pack_current_a", "block_voltage_v")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one quantity is in the log."""

    to: str
    signal: str = ""
    signals: tuple[str, ...] = ()
    index: str = ""
    scale: float = 1.0
    offset: float = 0.0


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file."""

    pack: str
    map: tuple[Entry, ...]
    cell: str = ""
    dbc: str = ""
    request: str = "drive"


@dataclass(frozen=True)
class _Place:
    """One signal of a message: which value it becomes."""

    entry: Entry
    number: int  # among the entry's signals


def load_mapping(path: Path) -> Mapping:
    """ConfigError for unknown keys, targets or signals named in no form."""
    mapping = config.load(path, Mapping)
    for k, entry in enumerate(mapping.map):
        config.require(entry.to in TARGETS, path, f"map[{k}].to", entry.to, ", ".join(TARGETS))
        names = entry.signals or (entry.signal,)
        for name in (*names, *([entry.index] if entry.index else [])):
            config.require(name.count(".") == 1, path, f"map[{k}]", name, "Message.Signal")
    missing = [to for to in NEEDED if all(e.to != to for e in mapping.map)]
    config.require(not missing, path, "map", missing, "an entry for each of " + ", ".join(NEEDED))
    words = ("standby", "drive", "charge")
    config.require(mapping.request in words, path, "request", mapping.request, ", ".join(words))
    return mapping


class Battery:
    """The latest values of a log, and the simulation they are written into."""

    def __init__(self, path: Path, mapping: Mapping, simulation: Simulation) -> None:
        topology, parts = simulation.pack.topology, simulation.world.parts
        plant = parts["plant"]
        modules = topology.blocks // topology.blocks_per_module
        sensors = simulation.pack.sensors.temperature_blocks
        self._plant, self._loop = plant, parts["loop"]
        self._cells = topology.blocks * topology.parallel
        self._blocks = topology.blocks
        self._sensor_blocks = np.array(
            [m * topology.blocks_per_module + b for m in range(modules) for b in sensors], int
        )
        sizes = {
            "block_voltage_v": topology.blocks, "temperature_degc": self._sensor_blocks.size,
            "module_pressure_kpa": modules,
        }  # fmt: skip
        self.values = {e.to: np.full(sizes.get(e.to, 1), np.nan) for e in mapping.map}
        self.used = self.unknown = self.malformed = 0
        self._messages: dict[tuple[int, bool], Any] = {}
        self._places: dict[tuple[int, bool], list[tuple[str, str, _Place]]] = {}
        self._find(path, mapping)

    def _find(self, path: Path, mapping: Mapping) -> None:
        """Look every signal up in the database."""
        database = _database(path.parent / mapping.dbc if mapping.dbc else spec.DBC)
        for k, entry in enumerate(mapping.map):
            for number, name in enumerate(entry.signals or (entry.signal,)):
                message_name, _, signal = name.partition(".")
                index = entry.index.partition(".")[2]
                message = next((m for m in database.messages if m.name == message_name), None)
                known = {s.name for s in message.signals} if message else set()
                for wanted in (signal, index) if index else (signal,):
                    config.require(
                        wanted in known, path, f"map[{k}]", name, "a signal of the database"
                    )
                assert message is not None
                key = (message.frame_id, message.is_extended_frame)
                self._messages[key] = message
                place = _Place(entry, number)
                self._places.setdefault(key, []).append((signal, index, place))

    def take(self, frame: Any) -> None:
        """A frame of the log; whatever it is, it does not raise."""
        key = (frame.id, bool(frame.flags & EXTENDED))
        if key not in self._messages or frame.flags & (REMOTE | ERROR):
            self.unknown += 1
            return
        try:
            found = self._messages[key].decode(frame.data, decode_choices=False)
        except Exception:  # cantools raises several kinds for bytes that do not fit
            self.malformed += 1
            return
        self.used += 1
        ranges = {s.name: (s.minimum, s.maximum) for s in self._messages[key].signals}
        for signal, index, place in self._places[key]:
            entry, value = place.entry, found.get(signal)
            group = found.get(index, -1) if index else 0
            at = int(group) * max(1, len(entry.signals)) + place.number
            is_value = value is not None and _is_in_range(ranges[signal], float(value))
            if is_value and 0 <= at < self.values[entry.to].size:
                self.values[entry.to][at] = float(value) * entry.scale + entry.offset

    @property
    def is_known(self) -> bool:
        """Whether everything that is needed was heard."""
        return not any(np.isnan(self.values[to]).any() for to in NEEDED)

    def put(self, *, is_at_rest: bool = False) -> None:
        """Write the values in the plant's place. is_at_rest: as if no current flowed."""
        plant, values = self._plant, self.values
        volts = values["block_voltage_v"]
        plant["block_voltage_v"][: volts.size] = volts
        plant["pack_current_a"][0] = 0.0 if is_at_rest else values["pack_current_a"][0]
        closed = _one(values, "contactors", float(int(self._loop["commanded_pins"][0]) & 7))
        plant["contactor_closed"][0] = int(closed) & 7
        pack_v = _one(values, "pack_voltage_v", float(volts.sum()))
        plant["pack_voltage_v"][0] = pack_v
        is_linked = int(closed) & 0b101 and int(closed) & 0b010
        plant["link_voltage_v"][0] = _one(values, "link_voltage_v", pack_v if is_linked else 0.0)
        for name in ("insulation_kohm", "ambient_degc"):
            plant[name][0] = _one(values, name, float(plant[name][0]))
        pressure = values.get("module_pressure_kpa", np.zeros(0))
        known = ~np.isnan(pressure)
        plant["module_pressure_kpa"][: pressure.size][known] = pressure[known]
        self._put_temperatures(values.get("temperature_degc", np.zeros(0)))

    def _put_temperatures(self, degc: np.ndarray) -> None:
        known = ~np.isnan(degc)
        if not known.any():
            return
        surface = self._plant["cell_surface_degc"][: self._cells].reshape(-1, self._blocks)
        surface[:] = degc[known].mean()
        surface[:, self._sensor_blocks[: degc.size][known]] = degc[known]


def _is_in_range(limits: tuple[float | None, float | None], value: float) -> bool:
    """Whether the database allows the value; equal or absent limits say nothing."""
    low, high = limits
    if low is None or high is None or low >= high:
        return True
    return low - 1e-9 <= value <= high + 1e-9


def _one(values: dict[str, np.ndarray], name: str, otherwise: float) -> float:
    value = float(values[name][0]) if name in values else np.nan
    return otherwise if np.isnan(value) else value


def _database(path: Path) -> Any:
    import cantools

    try:
        return cantools.database.load_file(str(path), strict=False)
    except (OSError, cantools.Error, ValueError, KeyError) as error:
        expected = "a database that cantools reads (DBC, KCD, ARXML, SYM)"
        raise ConfigError("mapping", "dbc", str(path), expected) from error


def replay_log(log_path: Path, mapping_path: Path, out: Path | None) -> dict[str, Any]:
    """Give a log to our firmware; figures of what it said. `out`: the recording, run.arrow.

    ConfigError for a mapping that cannot be, and for a log that never tells what is needed.
    """
    from bms.sim import REQUESTS, Simulation

    mapping = load_mapping(mapping_path)
    simulation = Simulation("drive", pack=mapping.pack, cell=mapping.cell or None)
    parts = simulation.world.parts
    parts["loop"]["plant_is_held"][0] = 1
    parts["vehicle"]["request"][0], parts["vehicle"]["kind"][0] = REQUESTS[mapping.request], 0
    battery, log = Battery(mapping_path, mapping, simulation), open_log(log_path)
    path = out or Path("run.arrow")
    misses: list[float] = []
    writer = simulation._writer(path, 1.0, True, True)
    simulation.world.set_recorder(writer.address)
    is_up = False
    try:
        for seconds in _ticks(iter(log), battery, log_path):
            if not is_up:
                is_up = _bring_up(simulation, writer, battery, STATES[mapping.request])
            _advance(simulation, writer, seconds)
            misses += _miss(battery, parts["vehicle"])
    finally:
        simulation.world.set_recorder(0)
        found = _figures(simulation, battery, log.malformed, misses)
        writer.close(found)
    return found | {"recording": str(path)}


def _bring_up(simulation: Simulation, writer: Writer, battery: Battery, state: str) -> bool:
    """Let the firmware reach the state on the first values of the log, at rest: it starts now,
    while the battery of the log may have been running for hours."""
    vehicle = simulation.world.parts["vehicle"]
    while spec.state_name(int(vehicle["obs_state"][0])) != state and simulation.time_s < BRING_UP_S:
        battery.put(is_at_rest=True)
        _advance(simulation, writer, TICK_US / 1000)
    battery.put()
    return True


def _ticks(frames: Iterator[Any], battery: Battery, path: Path) -> Iterator[float]:
    """Milliseconds to run each time values were put; nothing before all that is needed is known."""
    next_us = -1
    for frame in frames:
        at_us = frame.t_ns // 1000
        while 0 <= next_us <= at_us:
            if at_us - next_us > GAP_S * 1e6:
                raise ConfigError(path, "", f"a gap of {(at_us - next_us) / 1e6:.0f} s", "one log")
            battery.put()
            yield TICK_US / 1000
            next_us += TICK_US
        battery.take(frame)
        if next_us < 0 and battery.is_known:
            next_us = at_us + TICK_US
    if next_us < 0:
        missing = [to for to in NEEDED if np.isnan(battery.values[to]).any()]
        raise ConfigError(path, "", "no value of " + ", ".join(missing), "a log that tells them")


def _advance(simulation: Simulation, writer: Writer, milliseconds: float) -> None:
    left = round(milliseconds)
    while left > 0:
        done, why = simulation.world.run(left)
        left -= done
        if why == _loop.RECORDER_FULL:
            writer.drain()
        simulation._collect(writer)


def _miss(battery: Battery, vehicle: dict[str, np.ndarray]) -> list[float]:
    """How far our state of charge is from the log's, where both are told."""
    reference = battery.values.get("reference_soc_frac")
    if reference is None or np.isnan(reference[0]) or not int(vehicle["obs_soc_valid"][0]):
        return []
    return [float(vehicle["obs_soc_frac"][0]) - float(reference[0])]


def _figures(
    simulation: Simulation, battery: Battery, malformed: int, misses: list[float]
) -> dict[str, Any]:
    vehicle = simulation.world.parts["vehicle"]
    told = [e for e in simulation.events if e.kind == "diagnosis" and e.text.endswith("raised")]
    found: dict[str, Any] = {
        "simulated_s": round(simulation.time_s, 3),
        "frames_used": battery.used,
        "frames_without_a_mapping": battery.unknown,
        "frames_malformed": battery.malformed + malformed,
        "state_final": spec.state_name(int(vehicle["obs_state"][0])),
        "trips": int(simulation.world.parts["loop"]["trips"][0]),
        "diagnoses": sorted({e.name for e in told}),
        "est_soc_final_frac": float(vehicle["obs_soc_frac"][0]),
        "est_charge_limit_final_a": float(vehicle["obs_charge_limit_a"][0]),
        "est_discharge_limit_final_a": float(vehicle["obs_discharge_limit_a"][0]),
    }
    if misses:
        found["soc_rmse_against_log_frac"] = float(np.sqrt(np.mean(np.square(misses))))
        found["soc_final_against_log_frac"] = misses[-1]
    return found
