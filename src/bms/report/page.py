"""Puts words and plots on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib
from matplotlib.figure import Figure

from bms import __version__
from bms.errors import BmsError, RecorderError
from bms.recorder import Recording
from bms.report import compare, plots, words
from bms.report.style import SETTINGS, svg
from bms.report.view import View

PICTURE_DPI = 160
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
            drawn, text = _comparison(recordings[0], recordings[1])
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


def _comparison(first: Recording, second: Recording) -> tuple[list[Picture], str]:
    views = View(first, compare.WANTED), View(second, compare.WANTED)
    longer, shorter = sorted(views, key=lambda v: -v.duration_s)
    shorter.use_time_of(longer)
    labels = _labels(first, second)
    drawn = []
    for what in compare.OVERLAYS:
        figure = compare.overlay(views, labels, what)
        if figure is not None:
            drawn.append(Picture(what.name, what.title, "", figure))
        if what.name == "soc" and (error := compare.soc_error(views, labels)) is not None:
            drawn.append(Picture("soc_error", "Error of the state of charge", "", error))
    figures = [dict(words.key_figures(rec.summary)) for rec in (first, second)]
    text = _render(
        "comparison.html.j2",
        labels=labels,
        titles=[words.title(rec.meta) for rec in (first, second)],
        verdicts=[(words.verdict(rec.summary), words.tone(rec.summary)) for rec in (first, second)],
        figures=[(key, *(f.get(key, "") for f in figures)) for key in {**figures[0], **figures[1]}],
        same_truth=_same(first, second, "truth_hash"),
        same_trace=_same(first, second, "trace_hash"),
        differences=_differences(first.meta, second.meta),
        plots=drawn,
        commands=[words.command(rec.meta) for rec in (first, second)],
        origins=[list(_origin(rec)) for rec in (first, second)],
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
    return tell(plan, recording.summary, recording, cell, pack)


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


def _labels(first: Recording, second: Recording) -> tuple[str, str]:
    """Short names that tell the two apart."""
    names = [
        rec.path.parent.name if rec.path.stem == "run" else rec.path.stem for rec in (first, second)
    ]
    return (f"A: {names[0]}", f"B: {names[1]}")


def _same(first: Recording, second: Recording, key: str) -> bool | None:
    values = first.summary.get(key), second.summary.get(key)
    return None if None in values else values[0] == values[1]


def _differences(first: Any, second: Any, path: str = "") -> list[tuple[str, str, str]]:
    """(dotted key, in the first, in the second) of every value that differs in the metadata."""
    if isinstance(first, dict) and isinstance(second, dict):
        found = []
        for key in {**first, **second}:
            if path or key not in ("signals", "format", "tick_ns"):
                dotted = f"{path}.{key}" if path else key
                found += _differences(first.get(key), second.get(key), dotted)
        return found
    return [] if first == second else [(path, _short(first), _short(second))]


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
