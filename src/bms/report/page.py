"""Puts words and plots on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from bms import __version__
from bms.errors import BmsError, RecorderError
from bms.recorder import Recording
from bms.report import compare, plots, words
from bms.report.style import SETTINGS, svg
from bms.report.thinned import Thinned
from bms.report.view import View

PICTURE_DPI = 160
OTHERS_MAX = 40  # plots of a recording with signals of somebody else
DULL = ("crc", "counter", "checksum")  # always changing, never telling
EVENTS_MAX = 400  # rows of the table; a longer list says how many more there are


class Picture(NamedTuple):
    """One drawn plot."""

    name: str
    title: str
    caption: str
    figure: Figure


def write(recordings: list[Recording], path: Path, pictures: Path | None) -> list[Path]:
    """The page, and its plots as PNG files if a folder is named."""
    with matplotlib.rc_context(SETTINGS):  # type: ignore[arg-type]
        if len(recordings) == 1:
            drawn, text = _single(recordings[0])
        else:
            drawn, text = _comparison(recordings)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            written = [path]
            for picture in drawn if pictures is not None else ():
                assert pictures is not None
                pictures.mkdir(parents=True, exist_ok=True)
                file = pictures / f"{picture.name}.png"
                picture.figure.savefig(file, dpi=PICTURE_DPI)
                written.append(file)
        except OSError as error:
            raise RecorderError(f"{path}: the report cannot be written: {error}") from error
    return written


def _single(recording: Recording) -> tuple[list[Picture], str]:
    view = View(recording, plots.WANTED)
    drawn = [
        Picture(plot.name, plot.title, plot.caption, figure)
        for plot in plots.PLOTS
        if (figure := plot.draw(view)) is not None
    ]
    if not any(picture.name != "events" for picture in drawn):
        drawn += _others(recording)
    summary = recording.summary
    text = _render(
        "report.html.j2",
        title=words.title(recording.meta),
        description=((recording.meta.get("configuration") or {}).get("plan") or {}).get(
            "description", ""
        ),
        verdict=words.verdict(summary),
        tone=words.tone(summary),
        cut=_cut(recording),
        figures=words.key_figures(summary),
        findings=findings(recording),
        plots=drawn,
        events=recording.events[:EVENTS_MAX],
        more_events=max(0, len(recording.events) - EVENTS_MAX),
        command=words.command(recording.meta),
        origin=list(_origin(recording)),
        configuration=json.dumps(recording.meta.get("configuration") or {}, indent=2),
        summary=json.dumps(summary, indent=2),
    )
    return drawn, text


def _others(recording: Recording) -> list[Picture]:
    """Plots of a recording none of whose signals are ours: each that changes, as it is."""
    names = [
        name
        for name, info in recording.signals.items()
        if not info.vector and not name.lower().endswith(DULL)
    ]
    view = View(recording, tuple(names))
    drawn: list[Picture] = []
    for name in names:
        line = view.line(name)
        if line is None or np.nanmin(line.y) == np.nanmax(line.y) or len(drawn) == OTHERS_MAX:
            continue
        figure = plots.other(view, name)
        assert figure is not None
        drawn.append(Picture(name, name, recording.signals[name].text, figure))
    return drawn


def _comparison(recordings: list[Recording]) -> tuple[list[Picture], str]:
    views = [View(recording, compare.WANTED) for recording in recordings]
    longest = max(views, key=lambda view: view.duration_s)
    for view in views:
        view.use_time_of(longest)
    letters = [chr(ord("A") + k) for k in range(len(views))]
    labels = [f"{a}: {name}" for a, name in zip(letters, _names(recordings), strict=True)]
    drawn = [
        Picture(what.name, what.title, "", figure)
        for what in compare.OVERLAYS
        if (figure := compare.overlay(views, labels, what)) is not None
    ]
    figures = [dict(words.key_figures(recording.summary)) for recording in recordings]
    keys = {key: None for told in figures for key in told}
    text = _render(
        "comparison.html.j2",
        letters=letters,
        labels=labels,
        titles=[words.title(recording.meta) for recording in recordings],
        verdicts=[(words.verdict(r.summary), words.tone(r.summary)) for r in recordings],
        figures=[(key, [told.get(key, "") for told in figures]) for key in keys],
        same_truth=_same(recordings, "truth_hash"),
        same_trace=_same(recordings, "trace_hash"),
        differences=_differences([recording.meta for recording in recordings]),
        plots=drawn,
        commands=[words.command(recording.meta) for recording in recordings],
        origins=[list(_origin(recording)) for recording in recordings],
    )
    return drawn, text


def findings(recording: Recording) -> list[str]:
    """What the run found: told by its scenario if that can be known again, else by the summary."""
    summary = recording.summary
    try:
        told = _scenario_findings(recording)
    except (BmsError, LookupError, ValueError, TypeError):  # another version, or a foreign file
        told = []
    return told or words.sentences(summary)


def _scenario_findings(recording: Recording) -> list[str]:
    import msgspec

    from bms import scenarios
    from bms.model import Cell, Pack
    from bms.scenarios.findings import findings as tell

    configuration = recording.meta["configuration"]
    cell = msgspec.convert(configuration["cell"], Cell)
    pack = msgspec.convert(configuration["pack"], Pack)
    plan = scenarios.compile(
        scenarios.load(configuration["scenario"]), cell, pack,
        cycle=configuration.get("cycle"), settings=configuration["settings"],
        seed=recording.meta["seed"],
    )  # fmt: skip
    return tell(plan, recording.summary, Thinned(recording), cell, pack)


def _cut(recording: Recording) -> str:
    if recording.is_complete:
        return ""
    return f"This recording was cut; its last {recording.lost_bytes} bytes could not be read."


def _origin(recording: Recording) -> Iterator[tuple[str, str]]:
    """Where the recording comes from, for whoever wants to check it."""
    meta, summary = recording.meta, recording.summary
    for key in ("seed", "commit", "configuration_hash", "firmware_config_hash"):
        if key in meta:
            yield key.replace("_", " "), str(meta[key])
    for key in ("trace_hash", "truth_hash"):
        if key in summary:
            yield key.replace("_", " "), str(summary[key])
    versions = meta.get("versions") or {}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "recording", f"{recording.path.name}, format {meta['format']}"


def _names(recordings: list[Recording]) -> list[str]:
    """Short names that tell them apart."""
    return [
        rec.path.absolute().parent.name if rec.path.stem == "run" else rec.path.stem
        for rec in recordings
    ]


def _same(recordings: list[Recording], key: str) -> bool | None:
    values = {recording.summary.get(key) for recording in recordings}
    return None if None in values else len(values) == 1


def _differences(values: list[Any], path: str = "") -> list[tuple[str, list[str]]]:
    """(dotted key, value in each) of every key whose values differ in the metadata."""
    if all(isinstance(value, dict) for value in values):
        found = []
        for key in {key: None for value in values for key in value}:
            if path or key not in ("signals", "format", "tick_ns"):
                dotted = f"{path}.{key}" if path else key
                found += _differences([value.get(key) for value in values], dotted)
        return found
    is_same = all(value == values[0] for value in values)
    return [] if is_same else [(path, [_short(value) for value in values])]


def _short(value: Any) -> str:
    text = "" if value is None else json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 90 else text[:87] + "..."


def _render(template: str, **values: Any) -> str:
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["clock"] = words.clock
    page = environment.get_template(template)
    css = (folder / "page.css").read_text("utf-8")
    return page.render(svg=svg, css=css, version=__version__, **values)
