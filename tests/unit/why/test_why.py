"""Why contactors opened, told from real runs, from their recordings, and with links missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bms import Simulation, faults, spec, why
from bms.recorder import Recording
from bms.result import Run
from bms.scenarios.model import Act

CLOSED_S = 20.0


def run_with(path: Path, field: str, index: int, value: float, after_s: float) -> Run:
    """A drive in which one field of the world is changed at CLOSED_S."""
    simulation = Simulation("drive", pack="bench_16s1p", seed=1)
    act = Act(at_s=CLOSED_S, field=field, index=index, value=value, text="a test")
    simulation.plan = replace(simulation.plan, acts=(act,))
    return simulation.run(CLOSED_S + after_s, record=path)


def told(run: Run, data: why.Data | None = None) -> why.Chain:
    with Recording.open(run.recording_path or "") as recording:
        limits = why.limits_of_recording(recording.meta)
        (opening,) = why.openings(recording.events)
        return why.explain(opening, recording.events, data or why.of_recording(recording), limits)


def by_link(chain: why.Chain) -> dict[str, why.Link]:
    return {link.link: link for link in chain.links}


@pytest.fixture(scope="module")
def wrong_reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    path = tmp_path_factory.mktemp("why") / "wrong.arrow"
    yield run_with(path, "chips.cell_offset_v", 5, 0.8, 3.0)


def test_a_wrong_reading_is_told_from_a_true_overvoltage(wrong_reading: Run) -> None:
    chain = told(wrong_reading)
    links = by_link(chain)
    assert [link.link for link in chain.links] == list(why.LINKS)
    assert chain.opening.diagnosis == "cell_overvoltage" and chain.opening.index == 5
    assert "what was measured was not what is" in chain.text
    assert np.isnan(links["world"].time_s) and "stayed inside 4.3 V" in links["world"].text
    assert links["cause"].time_s == pytest.approx(CLOSED_S)
    assert "chips.cell_offset_v[5] = 0.8, a test" in links["cause"].text
    assert re.search(r"cell 6 at (4\.8|4\.799) V", links["decision"].text)


def test_the_links_follow_each_other_in_time_and_in_budget(wrong_reading: Run) -> None:
    chain = told(wrong_reading)
    links = by_link(chain)
    order = [links[k].time_s for k in ("cause", "measurement", "decision", "command", "contactor")]
    assert order == sorted(order) and np.isfinite(order).all()
    assert chain.budget_ms == 500.0 and 0.0 < chain.reaction_ms < 500.0 and chain.is_in_time
    assert chain.travel_ms == pytest.approx(12.0, abs=10.0)  # open_ms of the pack


@pytest.fixture(scope="module")
def shorted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    path = tmp_path_factory.mktemp("why") / "short.arrow"
    yield run_with(path, "plant.cell_short_siemens", 3, 2000.0, 3.0)


def test_the_world_beyond_its_limit_is_told(shorted: Run) -> None:
    chain = told(shorted)
    links = by_link(chain)
    assert chain.opening.diagnosis in ("cell_undervoltage", "cell_deep_discharge")
    assert chain.opening.index == 3 and "the firmware was right" in chain.text
    assert CLOSED_S < links["world"].time_s <= links["decision"].time_s
    assert chain.counted_from == "world" and 0.0 < chain.reaction_ms < chain.budget_ms


class Sparse:
    """Cells looked at now and then, as a screen keeps them; extremes of them every tick or not."""

    def __init__(self, data: why.Data, extremes: bool) -> None:
        self.data, self.extremes = data, extremes

    def window(
        self, name: str, t0_s: float, t1_s: float, columns: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        if name == "true_cell_voltage_min_v" and self.extremes:
            time_s, values = self.data.window("true_cell_voltage_v", t0_s, t1_s, columns)
            return time_s, values.min(axis=0, keepdims=True)
        time_s, values = self.data.window(name, t0_s, t1_s, columns)
        step = 50 if name == "true_cell_voltage_v" else 1
        return time_s[::step], values[:, ::step]


def test_what_lies_between_two_samples_is_not_claimed(shorted: Run) -> None:
    chain = told(shorted, Sparse(why.of_recording(shorted.recording), extremes=False))
    world = by_link(chain)["world"]
    assert not world.is_known and "0.5 s apart" in world.text
    assert "cannot be known" in chain.text and chain.counted_from == "measurement"


def test_extremes_at_every_tick_tell_it_after_all(shorted: Run) -> None:
    chain = told(shorted, Sparse(why.of_recording(shorted.recording), extremes=True))
    fine = told(shorted)
    assert by_link(chain)["world"].time_s == by_link(fine)["world"].time_s
    assert chain.reaction_ms == fine.reaction_ms and "the firmware was right" in chain.text


class OnlyTheBus:
    """Samples of a live bus: no truth, no output pins."""

    def __init__(self, data: why.Data) -> None:
        self.data = data

    def window(
        self, name: str, t0_s: float, t1_s: float, columns: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        if name.startswith(("true_", "cmd_contactors")):
            return np.zeros(0), np.zeros((0, 0))
        return self.data.window(name, t0_s, t1_s, columns)


def test_on_a_live_bus_what_cannot_be_known_is_said(wrong_reading: Run) -> None:
    recording = wrong_reading.recording
    events = [e for e in recording.events if e.kind not in ("act", "phase")]
    (opening,) = why.openings(events)
    data = OnlyTheBus(why.of_recording(recording))
    chain = why.explain(opening, events, data, why.limits_of_recording(recording.meta))
    links = by_link(chain)
    for unknown in ("cause", "world", "command"):
        assert not links[unknown].is_known and np.isnan(links[unknown].time_s)
    assert chain.counted_from == "measurement" and np.isfinite(chain.reaction_ms)
    assert "cannot be known" in chain.text


def test_without_any_samples_the_chain_has_what_the_events_tell(wrong_reading: Run) -> None:
    (opening,) = why.openings(wrong_reading.events)
    chain = why.explain(opening, wrong_reading.events)
    links = by_link(chain)
    assert np.isfinite(links["decision"].time_s + links["contactor"].time_s)
    assert not links["world"].is_known and not links["measurement"].is_known
    assert chain.is_in_time is not None  # the act is known, and when


def test_a_run_and_its_recording_tell_the_same(wrong_reading: Run) -> None:
    with Recording.open(wrong_reading.recording_path or "") as recording:
        assert repr(why.openings(wrong_reading.events)) == repr(why.openings(recording.events))


def test_opening_in_good_order_is_no_accusation(tmp_path: Path) -> None:
    simulation = Simulation("drive", pack="bench_16s1p", seed=1)
    simulation.run(8.0, record=False)
    simulation.world.parts["vehicle"]["request"][0] = 0
    simulation.world.parts["vehicle"]["kind"][0] = 0
    run = simulation.run(15.0, record=tmp_path / "order.arrow")
    chain = told(run)
    assert chain.opening.why == "order" and "good order" in chain.text
    assert np.isnan(chain.budget_ms) and chain.is_in_time is None


def test_the_limits_of_a_recording_are_those_of_cell_and_pack(wrong_reading: Run) -> None:
    simulation = Simulation("drive", pack="bench_16s1p", seed=1)
    of_meta = why.limits_of_recording(wrong_reading.recording.meta)
    assert of_meta == why.limits(simulation.cell, simulation.pack)
    assert why.limits_of_recording({"configuration": {"cell": 3}}) == {}


def test_a_fault_of_the_catalogue_is_named_as_the_cause(tmp_path: Path) -> None:
    simulation = Simulation("drive", pack="car_96s1p", seed=1)
    simulation.inject("CEL-02", index=5, after_s=CLOSED_S, ramp_s=0.0)
    simulation.inject("SEN-06", index=0, after_s=1.0, for_s=1.0)  # over long before
    run = simulation.run(CLOSED_S + 2.0, record=tmp_path / "fault.arrow")
    (opening,) = [o for o in why.openings(run.events) if o.why == "trip"]
    chain = why.explain(
        opening, run.events, why.of_recording(run.recording),
        why.limits(simulation.cell, simulation.pack), faults=faults.load(),
        predicted_ms=lambda name: 123.0,
    )  # fmt: skip
    links = by_link(chain)
    assert links["cause"].text.startswith("CEL-02 ") and "cell 6, " in links["cause"].text
    assert links["cause"].time_s == pytest.approx(CLOSED_S, abs=0.002)
    assert chain.predicted_ms == 123.0 and chain.is_in_time
    told = links["measurement"]  # 96 cells: the bus may tell it after the decision, and says so
    assert told.time_s <= opening.decided_s or "after the decision" in told.text
    decided, let_go, parted = (links[k].time_s for k in ("decision", "command", "contactor"))
    assert decided <= let_go <= parted + 0.01
    first = chain.opening.diagnosis
    told_first = run["cmd_trip_diagnosis"]
    assert spec.diagnosis(first).id == int(told_first[told_first > 0][0])  # as the firmware says
    others = {e.name for e in run.events if e.text == "trip raised"} - {first}
    assert all(name.replace("_", " ") in links["decision"].text for name in others)
