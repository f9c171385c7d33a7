"""What a run gives back: figures, events in words, and the recording."""

from __future__ import annotations

import hashlib
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bms import __version__, _loop, faults, spec
from bms.recorder import Event, Recording

if TYPE_CHECKING:
    from bms.sim import Simulation

CONTACTORS = ("main plus", "main minus", "precharge")
RESET_CAUSES = ("power on", "watchdog", "brown-out", "software", "wake")
TIERS = ("", "operate", "warn", "trip")


class Run:
    """The result of `Simulation.run`. `run["est_soc_frac"]` is a recorded signal, shape (n,) or (n,
    cells)."""

    def __init__(
        self,
        simulation: Simulation,
        summary: dict[str, Any],
        events: tuple[Event, ...],
        path: Path | None,
        folder: TemporaryDirectory[str] | None,
        trouble: str = "",
    ) -> None:
        self.trouble = trouble  # what the recorder could not write, in words
        self.plan, self.summary, self.events = simulation.plan, summary, events
        self.recording_path = path
        self._folder = folder  # keeps a temporary recording alive
        self._recording: Recording | None = None

    @property
    def recording(self) -> Recording:
        """The recording, opened on first use. Raises RecorderError (by `Recording.open`) when
        nothing was recorded."""
        if self._recording is None:
            self._recording = Recording.open(self.recording_path or "nothing was recorded")
        return self._recording

    def __getitem__(self, name: str) -> np.ndarray:
        return self.recording[name]


def put_in_words(loop: dict[str, np.ndarray], k: int) -> Event:
    """Entry k of the arena's event list as an Event whose name and text a person can read."""
    at_ns = int(loop["event_us"][k]) * 1000
    kind, code, level = (int(loop[f"event_{x}"][k]) for x in ("kind", "code", "level"))
    index, value = int(loop["event_index"][k]), float(loop["event_value"][k])
    if kind == _loop.EVENT_STATE:
        name = spec.state_name(code)
        return Event(at_ns, "state", name, -1, float(code), f"{spec.state_name(level)} to {name}")
    if kind == _loop.EVENT_DIAGNOSIS:
        tier, verb = TIERS[min(level // 2, 3)], "raised" if level % 2 else "cleared"
        return Event(at_ns, "diagnosis", spec.diagnosis_name(code), index, value, f"{tier} {verb}")
    if kind == _loop.EVENT_CONTACTOR:
        moved = [
            f"{n} {'closed' if code >> b & 1 else 'opened'}"
            for b, n in enumerate(CONTACTORS)
            if (code ^ level) >> b & 1
        ]
        return Event(at_ns, "contactor", ", ".join(moved), -1, value, f"at {value:.1f} A")
    if kind == _loop.EVENT_FUSE:
        return Event(at_ns, "fuse", "fuse blown", -1, value, f"at {value:.1f} A")
    if kind == _loop.EVENT_FAULT:
        name = faults.from_number(code)
        return Event(at_ns, "fault", name, index, value, "on" if level else "off")
    cause = RESET_CAUSES[code] if code < len(RESET_CAUSES) else str(code)
    return Event(at_ns, "reset", "ecu reset", -1, float(code), cause)


def summarise(simulation: Simulation, wall_s: float) -> dict[str, Any]:
    """The figures of a run as plain JSON values; names carry their units."""
    simulation.world.energy()
    parts = simulation.world.parts
    loop, plant, chips, vehicle = (parts[x] for x in ("loop", "plant", "chips", "vehicle"))
    scored = max(1, int(loop["score_count"][0]))
    simulated_s = simulation.time_s
    diagnoses: dict[str, int] = {}
    for event in simulation.events:
        if event.kind == "diagnosis" and event.text.endswith("raised"):
            diagnoses[f"{event.name} ({event.text.split()[0]})"] = (
                diagnoses.get(f"{event.name} ({event.text.split()[0]})", 0) + 1
            )
    throughput = float(plant["energy_throughput_j"][0])
    residual = float(plant["energy_residual_j"][0])
    return {
        "scenario": simulation.scenario,
        "pack": simulation.pack.name,
        "cell": simulation.cell.name,
        "seed": simulation.seed,
        "commit": commit(),
        "simulated_s": round(simulated_s, 3),
        "wall_s": round(wall_s, 4),
        "realtime_factor": round(simulated_s / wall_s, 1) if wall_s > 0 else None,
        "steps": int(loop["steps"][0]),
        "uart_bytes": int(chips["bytes_in"][0]) + int(chips["bytes_out"][0]),
        "can_frames": int(loop["can_frames"][0]),
        "can_frames_dropped": int(loop["frames_dropped"][0]),
        "afe_conversions": int(chips["conversions"][0]),
        "ekf_updates": _probe(simulation, "ekf_updates"),
        "ecu_resets": int(loop["resets"][0]),
        "energy_throughput_j": throughput,
        "energy_residual_j": residual,
        "energy_residual_frac": abs(residual) / throughput if throughput > 0 else 0.0,
        "trips": int(loop["trips"][0]),
        "diagnoses": diagnoses,
        "state_final": spec.state_name(int(vehicle["obs_state"][0])),
        "contactors_final": int(plant["contactor_closed"][0]),
        "fuse_blown": bool(plant["fuse_blown"][0]),
        "soc_start_frac": float(loop["soc_start_frac"][0]),
        "soc_final_frac": float(plant["pack_soc_frac"][0]),
        "soc_rmse_frac": float(np.sqrt(float(loop["score_square_sum"][0]) / scored)),
        "soc_max_error_frac": float(loop["score_max_error"][0]),
        "soc_inside_interval_frac": int(loop["score_inside"][0]) / scored,
        "soc_interval_mean_frac": float(loop["score_width_sum"][0]) / scored,
        "soc_scored_ticks": int(loop["score_count"][0]),
        "e2e_errors": int(vehicle["e2e_errors"][0]),
        "trace_hash": f"{int(loop['trace_hash'][0]):016x}",
        "truth_hash": f"{simulation.world.truth_hash_now():016x}",
    }


def _probe(simulation: Simulation, name: str) -> int:
    """A scalar counter of the firmware, 0 when the firmware shows none of that name."""
    for probe in simulation.probes:
        if probe.name == name:
            raw = simulation.world.firmware_bytes[probe.offset :][: np.dtype(probe.dtype).itemsize]
            return int(np.frombuffer(raw.tobytes(), probe.dtype)[0])
    return 0


def metadata(simulation: Simulation) -> dict[str, Any]:
    """Configuration and origin of a run, for the recording."""
    configuration = {
        "scenario": simulation.scenario,
        "pack": _plain(simulation.pack),
        "cell": _plain(simulation.cell),
        "settings": simulation.settings,
        "cycle": simulation.cycle,
        "plan": {"title": simulation.plan.title, "description": simulation.plan.description},
    }
    return {
        "configuration": configuration,
        "configuration_hash": hashlib.sha256(msgspec.json.encode(configuration)).hexdigest()[:16],
        "seed": simulation.seed,
        "commit": commit(),
        "versions": {"bms": __version__, "numpy": np.__version__},
        "firmware_config_hash": hashlib.sha256(simulation.config).hexdigest()[:16],
    }


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(struct)
    plain.pop("provenance", None)
    plain.pop("file", None)
    return plain


@lru_cache(maxsize=1)
def commit() -> str:
    """Commit of the working tree this runs from, with + when it has changes; the version where
    there is no repository."""
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return __version__
    return result.stdout.strip() or __version__
