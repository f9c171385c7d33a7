"""What a finished run says: sentences with numbers, from its recording.

`findings` tells; `unmet` checks the plan's expectations. Both only read. Which sentences appear
depends on what the plan does (drive, charge, warm up, act, back up a house, age), not on its name,
so a user's scenario is told about in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from bms.model import Cell, CriticalCurrent, Pack
from bms.plant.loads import Array
from bms.rng import exact_exp
from bms.units import BOLTZMANN_EV_PER_K, REFERENCE_K, kelvin

from .model import Phase, Plan

Values = np.ndarray[Any, Any]
_DEGC = np.arange(-60.0, 301.0)
TICKS_MAX = 1_000_000  # of a long run every second, third, ... tick is read
ROWS = 2048  # samples of all cells that are judged at once
SHORT_FRAC = 0.005  # less undelivered energy than this is not worth a sentence


class EventLike(Protocol):
    @property
    def t_ns(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...


class RecordingLike(Protocol):
    """What is read of a recording: signals by name, their times, and the events."""

    @property
    def events(self) -> Sequence[EventLike]: ...
    def __getitem__(self, name: str) -> Values: ...
    def time_s(self, name: str) -> Values: ...


def findings(
    plan: Plan, summary: Mapping[str, Any], recording: RecordingLike, cell: Cell, pack: Pack
) -> list[str]:
    """Sentences about a run, most telling first. The recording may be cut short."""
    run = _Run(plan, summary, recording, cell, pack)
    parts = (
        _driving,
        _range,
        _charging,
        _warming,
        _reaction,
        _house,
        _ageing,
        _critical,
        _estimate,
    )
    told = [sentence for part in parts for sentence in part(run)]
    return told + [f"Not as expected: {text}." for text in unmet(plan, summary, recording)]


def unmet(plan: Plan, summary: Mapping[str, Any], recording: RecordingLike) -> list[str]:
    """The plan's expectations that the run did not meet."""
    expect, missed = plan.expect, []
    if expect.no_trips and summary["trips"]:
        missed.append(f"{summary['trips']} trips, where none was expected")
    raised = {name.split(" ")[0] for name in summary["diagnoses"]}
    missed += [f"no diagnosis {name}" for name in expect.diagnoses if name not in raised]
    is_open = summary["contactors_final"] == 0
    if expect.contactors_open is not None and is_open != expect.contactors_open:
        missed.append(f"contactors {'open' if is_open else 'closed'} at the end")
    if expect.charge_inhibited is not None:
        limit_a = recording["est_charge_limit_a"]
        is_inhibited = len(limit_a) > 0 and float(limit_a[-1]) == 0.0
        if is_inhibited != expect.charge_inhibited:
            missed.append(f"charging {'inhibited' if is_inhibited else 'allowed'} at the end")
    return missed


class _Run:
    """A run with the arrays that several sentences need."""

    def __init__(
        self,
        plan: Plan,
        summary: Mapping[str, Any],
        recording: RecordingLike,
        cell: Cell,
        pack: Pack,
    ) -> None:
        self.plan, self.summary, self.recording = plan, summary, recording
        self.cell, self.pack = cell, pack
        times = recording.time_s("true_pack_current_a")
        self.every = 1 + len(times) // TICKS_MAX
        self.time_s = np.asarray(times[:: self.every], dtype=np.float64)
        self.current_a = self.signal("true_pack_current_a")
        self.power_w = self.current_a * self.signal("true_pack_voltage_v")
        self.soc_frac = self.signal("true_soc_frac")
        self.step_s = np.diff(self.time_s, append=self.time_s[-1:])
        entered = [e for e in recording.events if e.kind == "phase"]
        ends = [e.t_ns * 1e-9 for e in entered[1:]] + [float(summary["simulated_s"])]
        self.spans = {e.name: (e.t_ns * 1e-9, end) for e, end in zip(entered, ends, strict=True)}

    def signal(self, name: str) -> Array:
        """A signal that is recorded every tick, on `time_s`."""
        return np.asarray(self.recording[name][:: self.every], dtype=np.float64)

    def inside(self, name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Ticks within a phase; none when it was not reached."""
        start, end = self.spans.get(name, (np.inf, np.inf))
        return (self.time_s >= start) & (self.time_s < end)

    def energy_kwh(self, mask: Values, power_w: Array | None = None) -> float:
        power = self.power_w if power_w is None else power_w
        return float(np.sum((power * self.step_s)[mask])) / 3.6e6


def _driving(run: _Run) -> Iterator[str]:
    drives = [phase for phase in run.plan.phases if phase.distance_m > 0.0]
    for phase in drives:
        mask = run.inside(phase.name)
        if not mask.any():
            continue
        start, end = run.spans[phase.name]
        share = min(1.0, (end - start) / phase.duration_s)
        wanted_w = _wanted(phase, run.time_s - start)
        out, back = _delivered(run, mask, wanted_w)
        net_kwh = run.energy_kwh(mask)
        if share < 0.999:
            yield f"{phase.name}: ended after {share:.0%} of its time."
        else:
            km = phase.distance_m / 1e3
            mean_kmh = km / phase.duration_s * 3600.0
            yield (
                f"{phase.name}: {km:.1f} km at {mean_kmh:.0f} km/h on average took "
                f"{net_kwh:.2f} kWh from the pack, {net_kwh / km * 100.0:.1f} kWh/100 km."
            )
        if out < 1.0 - SHORT_FRAC or back < 1.0 - SHORT_FRAC:
            yield (
                f"{phase.name}: the limits let through {out:.1%} of the energy asked for driving "
                f"and {back:.1%} of the braking energy offered."
            )


def _wanted(phase: Phase, elapsed_s: Array) -> Array:
    index = np.clip(elapsed_s / phase.step_s, 0, len(phase.values) - 1).astype(np.int64)
    return np.asarray(phase.values[index])


def _delivered(run: _Run, mask: Values, wanted_w: Array) -> tuple[float, float]:
    """Shares of the wanted energy that flowed, out of and back into the pack."""
    shares = []
    for sign in (1.0, -1.0):
        wanted = run.energy_kwh(mask, np.maximum(sign * wanted_w, 0.0))
        flowed = run.energy_kwh(mask, np.maximum(sign * run.power_w, 0.0))
        shares.append(min(1.0, flowed / wanted) if wanted > 1e-6 else 1.0)
    return shares[0], shares[1]


def _range(run: _Run) -> Iterator[str]:
    published = run.plan.published
    if "range_left_km" not in published or not run.plan.distance_m:
        return
    used_kwh = run.energy_kwh(np.ones(len(run.time_s), dtype=bool))
    begin, end = float(run.summary["soc_start_frac"]), float(run.summary["soc_final_frac"])
    km = run.plan.distance_m / 1e3
    used_ocv = _ocv_wh(run.cell, begin) - _ocv_wh(run.cell, end)
    last = run.plan.phases[-1].name
    if used_kwh <= 0.0 or used_ocv <= 0.0 or last not in run.spans:
        yield f"The {km:.0f} km were not driven to their end."
        return
    reserve_ocv = _ocv_wh(run.cell, published.get("reserve_frac", 0.0))
    left_kwh = max(0.0, used_kwh * (_ocv_wh(run.cell, end) - reserve_ocv) / used_ocv)
    left_km = left_kwh / used_kwh * km
    total_km, total_kwh = km + left_km, used_kwh + left_kwh
    theirs_km = published["distance_km"] + published["range_left_km"]
    theirs_kwh = published["usable_energy_kwh"]
    yield (
        f"After {km:.0f} km the pack is at {end:.1%}: {left_kwh:.1f} kWh or {left_km:.0f} km are "
        f"left; the published run had {published['range_left_km']:.0f} km left."
    )
    yield (
        f"Range {total_km:.0f} km against {theirs_km:.0f} km published "
        f"({total_km / theirs_km - 1.0:+.0%}); usable energy {total_kwh:.1f} kWh against "
        f"{theirs_kwh:.1f} kWh; consumption {used_kwh / km * 100.0:.1f} against "
        f"{theirs_kwh / theirs_km * 100.0:.1f} kWh/100 km, the quotient of those figures."
    )


def _ocv_wh(cell: Cell, soc_frac: float) -> float:
    """Reversible energy of a cell from empty to a state of charge."""
    soc, ocv = np.asarray(cell.electric.ocv_soc_frac), np.asarray(cell.electric.ocv_v)
    grid = np.linspace(0.0, min(max(soc_frac, 0.0), 1.0), 201)
    volts = np.interp(grid, soc, ocv)
    mean = float(np.mean((volts[1:] + volts[:-1]) / 2.0))
    return mean * float(grid[-1]) * cell.electric.capacity_ah


def _charging(run: _Run) -> Iterator[str]:
    published = run.plan.published
    for phase in run.plan.phases:
        mask = run.inside(phase.name)
        if phase.kind != "charge" or not mask.any() or not (run.current_a[mask] < 0.0).any():
            continue
        soc = run.soc_frac[mask]
        begin, end = float(soc[0]), float(soc[-1])
        start_s, end_s = run.spans[phase.name]
        capacity_ah = run.cell.electric.capacity_ah * run.pack.topology.parallel
        peak_c = -float(run.current_a[mask].min()) / capacity_ah
        yield (
            f"{phase.name}: {begin:.1%} to {end:.1%} in {(end_s - start_s) / 60.0:.1f} min, "
            f"{-run.energy_kwh(mask):.2f} kWh at the terminals, at most {peak_c:.2f}C."
        )
        if "minutes" in published:
            yield _against_claim(run, mask)


def _against_claim(run: _Run, mask: Values) -> str:
    published = run.plan.published
    low, high = published["soc_from_frac"], published["soc_to_frac"]
    t, s = run.time_s[mask], run.soc_frac[mask]
    claim = f"{published['minutes']:.0f} min as published"
    if s[-1] < high - 0.005:
        return f"{low:.0%} to {high:.0%}: {claim} do not hold; charging ended at {s[-1]:.1%}."
    # The BMS stops at its own estimate; the last half percent is taken at the pace before.
    reached = min(high, float(s[-1]))
    minutes = (t[int(np.searchsorted(s, reached))] - t[int(np.searchsorted(s, low))]) / 60.0
    minutes *= (high - low) / max(reached - max(low, float(s[0])), 1e-9)
    verdict = "hold" if minutes <= published["minutes"] else "do not hold"
    return (
        f"{low:.0%} to {high:.0%} takes {minutes:.1f} min: {claim} {verdict} in a plant with the "
        f"{run.plan.critical} critical currents."
    )


def _warming(run: _Run) -> Iterator[str]:
    for phase in run.plan.phases:
        target = phase.until.get("temperature_above_degc")
        if target is None or phase.name not in run.spans:
            continue
        start, end = run.spans[phase.name]
        if end - start > phase.duration_s - 0.1:
            yield f"{phase.name}: {target} degC not reached in {phase.duration_s / 60.0:.0f} min."
        else:
            minutes = (end - start) / 60.0
            yield f"{phase.name}: the coldest cell passed {target} degC after {minutes:.1f} min."
    heater = np.asarray(run.recording["cmd_heater_frac"], dtype=np.float64)
    times = np.asarray(run.recording.time_s("cmd_heater_frac"), dtype=np.float64)
    if len(heater) > 1 and heater.max() > 0.0:
        kwh = float(np.sum(heater[:-1] * np.diff(times))) * run.pack.cooling.heater_w / 3.6e6
        core = run.recording["true_cell_temperature_core_degc"]
        yield (
            f"The heater gave {kwh:.2f} kWh; the coldest cell went from {float(core[0].min()):.1f} "
            f"to {float(core[-1].min()):.1f} degC."
        )


def _reaction(run: _Run) -> Iterator[str]:
    """From each act to what the firmware concluded and did."""
    for act in run.plan.acts:
        if act.at_s >= float(run.summary["simulated_s"]):
            continue
        yield f"At {_clock(act.at_s)}: {act.text}."
        after = [e for e in run.recording.events if e.t_ns * 1e-9 >= act.at_s]
        raised = [e for e in after if e.kind == "diagnosis" and "raised" in e.text]
        told: set[str] = set()
        for event in raised:
            if event.name not in told:
                told.add(event.name)
                yield f"{event.name} {event.text} {_clock(event.t_ns * 1e-9 - act.at_s)} after it."
        opened = next((e for e in after if e.kind == "contactor" and "opened" in e.name), None)
        if opened is not None:
            yield f"Contactors opened {_clock(opened.t_ns * 1e-9 - act.at_s)} after it."
        core = run.recording["true_cell_temperature_core_degc"]
        yield f"The hottest cell reached {float(core.max()):.0f} degC."


def _clock(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.2f} s"
    return f"{seconds / 60.0:.1f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.2f} h"


def _house(run: _Run) -> Iterator[str]:
    for phase in run.plan.phases:
        mask = run.inside(phase.name)
        is_house = phase.kind == "power" and len(phase.values) > 1 and not phase.distance_m
        if not is_house or not mask.any():
            continue
        wanted_w = _wanted(phase, run.time_s - run.spans[phase.name][0])
        out, back = _delivered(run, mask, wanted_w)
        soc = run.soc_frac[mask]
        gave = run.energy_kwh(mask, np.maximum(run.power_w, 0.0))
        took = run.energy_kwh(mask, np.maximum(-run.power_w, 0.0))
        yield (
            f"{phase.name}: the pack gave {gave:.2f} kWh, {out:.1%} of what was asked, and took "
            f"{took:.2f} kWh, {back:.1%} of the sun left over; its charge went down to "
            f"{float(soc.min()):.1%}."
        )


def _ageing(run: _Run) -> Iterator[str]:
    if run.plan.ageing_acceleration == 1.0:
        return
    soc, capacities = run.soc_frac, []
    for phase in run.plan.phases:
        mask = run.inside(phase.name)
        if phase.kind == "current" and mask.any():
            moved = float(soc[mask][0] - soc[mask][-1])
            if moved > 0.2:
                ah = float(np.sum((run.current_a * run.step_s)[mask])) / 3600.0
                capacities.append(ah / moved)
    rated_ah = run.cell.electric.capacity_ah * run.pack.topology.parallel
    through_ah = float(np.sum(np.abs(run.current_a) * run.step_s)) / 7200.0
    cycles = through_ah / rated_ah * run.plan.ageing_acceleration
    yield f"{through_ah / rated_ah:.1f} full cycles aged the pack like {cycles:.0f}."
    if len(capacities) > 1:
        first, last = capacities[0], capacities[-1]
        soh = float(run.recording["est_soh_frac"][-1])
        yield (
            f"Capacity over the discharges went from {first:.2f} to {last:.2f} Ah "
            f"({last / first - 1.0:+.1%}); the BMS says a state of health of {soh:.1%}."
        )


def critical_use(
    current_a: Values, core_degc: Values, pressure_kpa: Values,
    cell: Cell, pack: Pack, critical: CriticalCurrent, *, plating: bool,
) -> Values:  # fmt: skip
    """Areal current as a share of the critical one, per row and cell.

    current_a, core_degc: (n, cells), + = discharge; pressure_kpa: (n, modules). plating: charge
    counts, else discharge. The critical current goes as exp(Ea/k (1/298.15 K - 1/T)) and
    (P / reference) ** exponent. 0 where current flows the other way.
    """
    t = pack.topology
    module = (np.arange(current_a.shape[1]) % t.blocks) // t.blocks_per_module
    at_25 = critical.plating_ma_per_cm2 if plating else critical.stripping_ma_per_cm2
    warm = np.interp(core_degc, _DEGC, _arrhenius(critical.activation_ev))
    reference_kpa = max(cell.pressure.reference_kpa, 1.0)
    pressed = (
        np.maximum(pressure_kpa[:, module] / reference_kpa, 1e-3) ** critical.pressure_exponent
    )
    density = (-current_a if plating else current_a) * 1e3 / cell.geometry.electrode_area_cm2
    return np.asarray(np.maximum(density, 0.0) / (at_25 * warm * pressed))


@lru_cache
def _arrhenius(activation_ev: float) -> Values:
    """exp(Ea/k (1/298.15 K - 1/T)) on the grid _DEGC."""
    per_k = activation_ev / BOLTZMANN_EV_PER_K
    return np.array([exact_exp(per_k * (1.0 / REFERENCE_K - 1.0 / kelvin(t))) for t in _DEGC])


def _critical(run: _Run) -> Iterator[str]:
    """How near the run came to the plating (or stripping) limit, under both sets."""
    if run.cell.classification.kind == "liquid":
        return
    charges = any(phase.kind == "charge" for phase in run.plan.phases)
    rec, use = run.recording, {}
    times = np.asarray(rec.time_s("true_cell_current_a"), dtype=np.float64)
    current, core, pressure = (
        rec[name].reshape(len(times), -1)
        for name in (
            "true_cell_current_a",
            "true_cell_temperature_core_degc",
            "true_module_pressure_kpa",
        )
    )
    if not len(times):
        return
    for name in ("claimed", "literature"):
        critical: CriticalCurrent = getattr(run.cell, f"critical_current_{name}")
        pieces = (slice(k, k + ROWS) for k in range(0, len(times), ROWS))
        worst = [
            critical_use(
                current[at], core[at], pressure[at], run.cell, run.pack, critical, plating=charges
            ).max(axis=1)
            for at in pieces
        ]
        use[name] = np.concatenate(worst)
    word = "Plating" if charges else "Stripping"
    if use["claimed"].max() <= 0.0:
        return
    peak_a = float(-current.min() if charges else current.max())
    density = peak_a * 1e3 / run.cell.geometry.electrode_area_cm2
    spacing = np.diff(times, append=times[-1:])
    over = {name: float(np.sum(spacing[u > 1.0])) / 60.0 for name, u in use.items()}
    yield (
        f"{word} reached {density:.1f} mA/cm2. It used {use['claimed'].max():.0%} of the critical "
        "current as claimed"
        + (f", beyond it for {over['claimed']:.1f} min" if over["claimed"] else "")
        + f", and {use['literature'].max():.1f} times the literature's"
        + (f", beyond that for {over['literature']:.1f} min." if over["literature"] else ".")
    )
    if over["literature"] and "minutes" in run.plan.published:
        yield (
            "Under the literature's critical currents the published charge does not hold: to stay "
            f"below them the current would have to be {use['literature'].max():.0f} times lower."
        )


def _estimate(run: _Run) -> Iterator[str]:
    if run.summary.get("soc_scored_ticks"):
        yield (
            f"SoC estimate: {run.summary['soc_rmse_frac']:.2%} rms, "
            f"{run.summary['soc_max_error_frac']:.2%} at worst; the truth lay in its interval "
            f"{run.summary['soc_inside_interval_frac']:.1%} of the time."
        )
