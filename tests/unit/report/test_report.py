"""The report: whole for a whole recording, smaller for a smaller one, and true to the numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic

from bms import report
from bms.recorder import Recording
from bms.report import plots, style, words
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
    names = [name for name in plots.WANTED if name in everything]
    view = View(everything)
    line = View.line
    for name in names:
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
    (tmp_path / "cut.arrow").write_bytes(recording.path.read_bytes()[:-20000])
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


def test_thinning_keeps_every_extreme(seed):
    rng = np.random.default_rng(seed)
    t, y = np.arange(100_000.0), rng.normal(size=100_000)
    y[rng.integers(0, y.size, 3)] = [50.0, -50.0, np.nan]
    _, folded = style.thin(t, y)
    assert folded.size < 5000
    assert np.nanmax(folded) == np.nanmax(y) and np.nanmin(folded) == np.nanmin(y)


def test_a_gap_stays_a_gap_when_thinned():
    t, y = np.arange(100_000.0), np.ones(100_000)
    y[30_000:40_000] = np.nan
    thin_t, folded = style.thin(t, y)
    assert np.isnan(folded[(thin_t > 30_100) & (thin_t < 39_900)]).all()
    assert (folded[(thin_t < 29_900) | (thin_t > 40_100)] == 1).all()


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
