"""Feeds on real recordings, logs and buses, whole and damaged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bms_gui.feeds.live import LiveFeed
from bms_gui.feeds.recorded import LogFeed, RecordingFeed, open_file
from bms_gui.feeds.rig import RigFeed
from bms_gui.hearing import Hearing
from bms_gui.playhead import Playhead
from bms_gui.snapshot import Frames, Snapshot

from bms import Recording, Simulation, links
from bms.errors import ConfigError
from bms.protocols import codec

pytestmark = pytest.mark.wires
TRIES = 3
FOREIGN = """VERSION ""
BU_: X
BO_ 256 Other: 4 X
 SG_ Speed : 0|16@1+ (1,0) [0|0] "" X
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gui") / "run.arrow"
    simulation = Simulation("drive", pack="bench_16s1p", seed=3)
    simulation.run(20.0, record=path, cells_every_s=0.1, frames=True)
    return path


@pytest.fixture(scope="module")
def logged(recorded: Path) -> Path:
    from bms.cli import main

    path = recorded.with_suffix(".log")
    assert main(["convert", str(recorded), str(path)]) in (0, None)
    return path


def shown(feed: object, time_s: float, holds: Callable[[Snapshot], object]) -> Snapshot:
    """The moment once it is there."""
    end = time.monotonic() + 30.0
    while True:
        feed.pump()  # type: ignore[attr-defined]
        snapshot = Playhead(time_s=time_s).looked_at(feed.snapshot())  # type: ignore[attr-defined]
        if holds(snapshot):
            return snapshot
        assert time.monotonic() < end, snapshot.status
        time.sleep(0.01)


def test_a_recording_shows_the_moment_it_recorded(recorded: Path) -> None:
    feed = RecordingFeed(recorded)
    snapshot = shown(feed, 15.0, lambda s: s.latest and s.events)
    with Recording.open(recorded) as rec:
        k = int(np.searchsorted(rec.time_s("est_soc_frac"), 15.0 + 1e-9)) - 1
        assert snapshot.number("est_soc_frac") == pytest.approx(rec["est_soc_frac"][k])
        assert len(snapshot.events) == len(rec.events)
    assert snapshot.shape.blocks == 16 and snapshot.is_past
    assert snapshot.vector("meas_cell_voltage_v").size == 16
    assert len(snapshot.frames.id) > 0 and snapshot.frames.time_s[-1] <= 15.0
    feed.close()


def test_a_window_of_a_recording_holds_every_sample(recorded: Path) -> None:
    feed = RecordingFeed(recorded)
    time_s, values = feed.data.window("meas_pack_current_a", 5.0, 9.0, 100)
    with Recording.open(recorded) as rec:
        t, v = rec.time_s("meas_pack_current_a"), rec["meas_pack_current_a"]
    inside = (t >= 5.0) & (t <= 9.0)
    found = (time_s >= 5.0) & (time_s <= 9.0)
    assert np.allclose(time_s[found], t[inside]) and np.allclose(values[0][found], v[inside])
    feed.close()


def test_a_log_of_the_bus_says_what_the_recording_says(recorded: Path, logged: Path) -> None:
    feed = open_file(logged)
    assert isinstance(feed, LogFeed)
    snapshot = shown(feed, 15.0, lambda _: feed._is_read)
    with Recording.open(recorded) as rec:
        k = int(np.searchsorted(rec.time_s("meas_pack_voltage_v"), 15.0)) - 1
        voltage = float(rec["meas_pack_voltage_v"][k])
        cells = rec["meas_cell_voltage_v"][-1]
    assert snapshot.word("cmd_state") == "normal_drive"
    assert snapshot.number("meas_pack_voltage_v") == pytest.approx(voltage, abs=0.3)
    assert snapshot.shape.blocks == 16
    assert np.allclose(snapshot.vector("meas_cell_voltage_v"), cells, atol=0.2)
    kinds = {event.kind for event in snapshot.events}
    assert {"state", "contactor"} <= kinds
    feed.close()


def test_a_recording_cut_short_is_shown_and_says_so(recorded: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.arrow"
    cut.write_bytes(recorded.read_bytes()[: int(recorded.stat().st_size * 0.7)])
    try:
        feed = RecordingFeed(cut)
    except Exception as error:  # one batch, and it is cut: then a sentence, and nothing else
        assert "repair" in str(error) or "read" in str(error)
        return
    text = feed.snapshot().status.message
    assert "cut short" in text and "bms repair" in text
    feed.close()


@pytest.mark.parametrize("content", [b"", b"no recording", b"ARROW1\0\0" + bytes(100)])
def test_a_file_that_is_nothing_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.arrow"):
        open_file(path)
    with pytest.raises(ConfigError, match="exists"):
        open_file(tmp_path / "absent.arrow")


def test_a_database_that_does_not_match_is_said(logged: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.dbc"
    path.write_text(FOREIGN, "utf-8")
    feed = LogFeed(logged, path)
    snapshot = shown(feed, 15.0, lambda _: feed._is_read)
    assert "other.dbc has none of the messages" in snapshot.status.message
    assert len(snapshot.frames.id) > 0 and not snapshot.signals
    assert Hearing(codec.load(path)).is_foreign
    feed.close()


@pytest.fixture
def bus() -> Iterator[tuple[LiveFeed, links.Link]]:
    pack = links.open("inproc:gui-test")
    feed = LiveFeed("inproc:gui-test")
    yield feed, pack
    feed.close()
    pack.close()


def heard(feed: LiveFeed, holds: Callable[[Snapshot], object], what: str) -> Snapshot:
    end = time.monotonic() + 20.0
    while not holds(feed.snapshot()):
        assert time.monotonic() < end, what
        feed.pump()
        time.sleep(0.005)
    return feed.snapshot()


def test_a_bus_is_heard_dies_and_is_told_dead(
    bus: tuple[LiveFeed, links.Link], recorded: Path
) -> None:
    feed, pack = bus
    with Recording.open(recorded) as rec:
        frames = [f for f in rec.frames if f.bus == 0 and f.direction == 1 and f.t_ns > 14e9]
    for frame in frames[:600]:
        pack.send(links.Frame(frame.id, frame.data))
        feed.pump()
    snapshot = heard(feed, lambda s: s.latest and np.isfinite(s.number("est_soc_frac")), "no SoC")
    assert snapshot.word("cmd_state") == "normal_drive" and snapshot.source == "live"
    assert not snapshot.is_stale("est_soc_frac", 5.0)
    feed._now_s += 4.0  # the clock goes on, the bus does not
    feed._began_s -= 4.0
    snapshot = heard(feed, lambda s: s.status.state == "waiting", "its death was not told")
    assert "No frame for" in snapshot.status.message
    assert snapshot.is_stale("est_soc_frac", 2.5)
    feed.pump()
    assert np.isnan(feed.snapshot().number("est_soc_frac")), "an old value is shown as present"


def test_nonsense_on_a_bus_is_shown_and_never_believed(bus: tuple[LiveFeed, links.Link]) -> None:
    feed, pack = bus
    rng = np.random.default_rng(5)
    for k in range(300):
        number = 0x100 if k % 2 else int(rng.integers(0x600, 0x700))
        pack.send(links.Frame(number, rng.bytes(int(rng.integers(0, 9)))))
        feed.pump()
    snapshot = heard(feed, lambda s: len(s.frames.id) >= 250, "frames were lost")
    assert np.isnan(snapshot.number("cmd_state"))
    assert "does not fit" in snapshot.status.message or "none of them" in snapshot.status.message


def test_silence_of_one_message_makes_its_values_unknown() -> None:
    from bms.protocols import dbc

    data = np.zeros((1, 8), np.uint8)
    told = dbc.encode("BmsCellVoltageExtremes", {"CellVoltageMax": 4.1, "CellVoltageMin": 3.9})
    data[0] = list(told)
    one = Frames(
        np.array([1.0]), np.array([dbc.frame_id("BmsCellVoltageExtremes")], np.uint32),
        np.zeros(1, np.uint8), np.ones(1, np.uint8), np.zeros(1, np.uint8),
        np.array([8], np.uint8), data,
    )  # fmt: skip
    hearing = Hearing()
    first = hearing.hear(one, 2.0)
    assert first.values["meas_cell_voltage_max_v"][-1] == pytest.approx(4.1)
    empty = Frames(*(getattr(one, n)[:0] for n in one.__dataclass_fields__ if n != "total"))
    later = hearing.hear(empty, 6.0)
    assert np.isnan(later.values["meas_cell_voltage_max_v"][-1])


@pytest.mark.slow("starts the pack and the firmware as processes")
def test_a_rig_drives_and_a_half_that_dies_is_named() -> None:
    for _ in range(TRIES):
        rig = RigFeed()
        try:
            return drives_and_loses_a_half(rig)
        except AssertionError:
            if not told_late(rig):
                raise
        finally:
            rig.close()
    pytest.skip(f"not run: this computer did not keep real time in {TRIES} tries")


def told_late(rig: RigFeed) -> bool:
    """Whether what failed says nothing, since a process did not keep real time. They tell once a
    second."""
    end = time.monotonic() + 3.0
    while not rig.late_ticks and time.monotonic() < end:
        rig.pump()
        time.sleep(0.1)
    return bool(rig.late_ticks)


def drives_and_loses_a_half(rig: RigFeed) -> None:
    end = time.monotonic() + 60.0
    while rig.snapshot().word("cmd_state") != "normal_drive":
        assert time.monotonic() < end, rig.snapshot().status
        rig.pump()
        time.sleep(0.02)
    assert rig.ecu is not None and "inject" in rig.snapshot().offers
    rig.ask("inject", "CEL-02", 3, None, 0.0, 0.0, None)
    while rig.snapshot().number("meas_contactors") != 0.0:
        assert time.monotonic() < end, "the contactors stayed closed"
        rig.pump()
        time.sleep(0.02)
    assert rig.snapshot().injected[0].id == "CEL-02"
    rig.ecu.process.kill()
    rig.ecu.process.wait(5.0)
    rig.pump()
    status = rig.snapshot().status
    assert status.state == "lost" and "bms ecu" in status.message
