"""The report: whole for a whole recording, smaller for a smaller one, and true to the numbers."""

from __future__ import annotations

import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic

from bms import report
from bms.recorder import Recording, Signal, Writer
from bms.report import compare, fold, plots, style, words
from bms.report.view import View

VOID = {"meta", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Collects text, ids and references, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "xlink:href"):
                self.references.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Recording:
    return synthetic.record(tmp_path_factory.mktemp("run") / "run.arrow", seconds=45)


def page(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def test_a_whole_recording_gives_every_plot_and_nothing_from_outside(recording, tmp_path):
    written = report.write([recording], tmp_path / "r.html", pictures=tmp_path / "png")
    found = page(tmp_path / "r.html")
    drawn = [plot.name for plot in plots.PLOTS if plot.name != "health"]
    assert [name for name in found.ids if name in {p.name for p in plots.PLOTS}] == drawn
    assert [p.stem for p in written[1:]] == drawn
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in written[1:])
    assert all(reference.startswith("#") for reference in found.references)
    assert not found.open or found.open == ["html"]
    assert "url(http" not in (tmp_path / "r.html").read_text()


def test_the_page_says_what_the_summary_says(recording, tmp_path):
    report.write([recording], tmp_path / "r.html")
    told = page(tmp_path / "r.html").words
    for text in (
        "A made-up drive", "Nothing here was simulated.", "1 trip", "0.51 %", "abc123",
        "0123456789abcdef", "bms run drive --seed 3", "cell_overtemperature",
    ):  # fmt: skip
        assert text in told, text


@pytest.mark.parametrize("plot", plots.PLOTS, ids=lambda plot: plot.name)
def test_each_plot_alone_never_fails_for_want_of_a_signal(plot, tmp_path):
    """Every signal in turn is missing, then every signal is alone."""
    everything = synthetic.record(tmp_path / "all.arrow", seconds=3)
    view = View(everything, plots.WANTED)
    line, asked = View.line, set()
    view.line = lambda n: asked.add(n) or line(view, n)  # type: ignore
    plot.draw(view)
    assert asked <= set(plots.WANTED)
    for name in sorted(asked):
        for keep in (lambda n, gone=name: n != gone, lambda n, only=name: n == only):
            view.line = lambda n, keep=keep: line(view, n) if keep(n) else None  # type: ignore
            plot.draw(view)


def test_a_recording_with_one_signal_gives_one_plot(tmp_path):
    rec = synthetic.record(
        tmp_path / "a.arrow", seconds=12, only=("true_soc_frac",), meta={}, summary={}
    )
    written = report.write([rec], tmp_path / "r.html", pictures=tmp_path)
    assert [p.name for p in written] == ["r.html", "soc.png", "events.png"]
    assert "A recording" in page(tmp_path / "r.html").words


def test_a_cut_recording_says_so(recording, tmp_path):
    whole = recording.path.read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[: len(whole) // 2])
    report.write([Recording.open(tmp_path / "cut.arrow")], tmp_path / "r.html")
    told = page(tmp_path / "r.html").words
    assert "This recording was cut" in told and "there is no summary" in told


def test_text_from_a_recording_cannot_become_markup(tmp_path):
    meta = {"configuration": {"scenario": "<script>alert(1)</script>"}}
    rec = synthetic.record(tmp_path / "a.arrow", seconds=3, only=("true_soc_frac",), meta=meta)
    report.write([rec], tmp_path / "r.html")
    assert "<script" not in (tmp_path / "r.html").read_text()


def test_a_comparison_names_what_differs(recording, tmp_path):
    meta = {**synthetic.META, "seed": 4, "commit": "def456"}
    other = synthetic.record(
        tmp_path / "run.arrow", seconds=30, bias=0.01, meta=meta,
        summary={**synthetic.SUMMARY, "trips": 0, "trace_hash": "x"},
    )  # fmt: skip
    report.write([recording, other], tmp_path / "c.html", pictures=tmp_path)
    told = page(tmp_path / "c.html").words
    assert "not the same; the pack's true state at the end is the same" in told
    assert re.search(r"seed\s*3\s*4", told) and re.search(r"commit\s*abc123\s*def456", told)
    assert (tmp_path / "soc_error.png").exists() and (tmp_path / "core_max.png").exists()


def test_the_same_recording_twice_gives_the_same_page(recording, tmp_path):
    for name in "ab":
        report.write([recording], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_colours_follow_the_readers_screen(recording, tmp_path):
    report.write([recording], tmp_path / "r.html")
    drawings = (tmp_path / "r.html").read_text().split("</style>", 1)[1]
    for colour in style.VARIABLES:
        assert colour not in drawings
    assert set(re.findall(r"var\(--(\w+)\)", drawings)) <= set(style.VARIABLES.values())


def test_several_recordings_are_compared(recording, tmp_path):
    others = [
        synthetic.record(tmp_path / f"{name}.arrow", seconds=12, meta={**synthetic.META, "seed": k})
        for k, name in enumerate(("two", "three", "four"))
    ]
    report.write([recording, *others], tmp_path / "c.html")
    told = page(tmp_path / "c.html").words
    assert "4 runs compared" in told and "D: four" in told
    assert re.search(r"seed\s*3\s*0\s*1\s*2", told)
    assert (tmp_path / "c.html").read_text().count("<svg") == len(compare.OVERLAYS)


def test_a_recording_of_somebody_elses_signals_is_drawn_as_it_is(tmp_path):
    value, still = np.zeros(1), np.zeros(1)
    signals = [
        Signal("Engine.Speed", "rpm", "measured", "pack", "of the crankshaft", value),
        Signal("Engine.Counter", "1", "measured", "pack", "", value),
        Signal("Engine.Fault", "1", "measured", "pack", "", still),
    ]
    with Writer(tmp_path / "a.arrow", signals, {}) as writer:
        for k in range(1, 500):
            value[0] = k
            writer.low_level.tick(10_000 * k)
        writer.close({"frames": 1, "log_s": 5.0})
    with Recording.open(tmp_path / "a.arrow") as rec:
        report.write([rec], tmp_path / "r.html")
    found = page(tmp_path / "r.html")
    assert "Engine.Speed" in found.ids and "of the crankshaft" in found.words
    assert not {"Engine.Counter", "Engine.Fault"} & set(found.ids)


def test_a_page_is_made_in_one_pass_over_the_recording(recording, monkeypatch):
    passes = []
    batches = fold.Source.of

    def counted(*args):
        passes.append(args)
        return batches(*args)

    monkeypatch.setattr(fold.Source, "of", counted)
    view = View(recording, plots.WANTED)
    for plot in plots.PLOTS:
        plot.draw(view)
    assert len(passes) == 1


def test_a_longer_recording_needs_no_more_memory(tmp_path):
    peaks = []
    for seconds in (100, 1000):
        rec = synthetic.record(tmp_path / f"{seconds}.arrow", seconds=seconds)
        tracemalloc.start()
        view = View(rec, plots.WANTED)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert all(line.t.size <= 4 * fold.COLUMNS for n in plots.WANTED if (line := view.line(n)))
    assert peaks[1] < 1.5 * peaks[0]


def test_the_command_to_repeat_a_run_is_quoted():
    meta = {"configuration": {"scenario": "my drive", "settings": {"a": "b c"}}, "seed": 5}
    assert words.command(meta) == "bms run 'my drive' --seed 5 --set 'a=b c'"
    assert words.command({}) == "" and words.title({}) == "A recording"


@pytest.mark.parametrize(
    ("summary", "tone"),
    [({}, "bad"), ({"trips": 0}, "good"), ({"trips": 2}, "warn"), ({"fuse_blown": True}, "bad")],
)
def test_the_verdict_has_a_tone(summary, tone):
    assert words.tone(summary) == tone
    assert words.verdict(summary).endswith(".")
