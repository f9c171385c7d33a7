"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import datetime
import platform
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bms_hil import requirements
from bms_hil.picture import svg

from bms import __version__

if TYPE_CHECKING:
    from bms_hil.session import Result, Session

STYLE = (Path(__file__).parent / "report.css").read_text("utf-8")
HOLDS = {
    True: '<td class="pass">holds</td>',
    False: '<td class="fail">does not hold</td>',
}
WORDS = {"pass": "passed", "fail": "failed", "skip": "skipped", "not_run": "not run"}


def write(session: Session, path: Path) -> None:
    """The report of a finished run. OSError when it cannot be written."""
    body = "".join(
        (_head(session), _gaps(session), _matrix(session), _reactions(session), _skips(session),
         _tests(session))
    )  # fmt: skip
    title = f"HIL report, rig {escape(session.rig)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<main>{body}</main></html>",
        "utf-8",
    )


def _head(session: Session) -> str:
    identity: dict[str, str] = next((r["identity"] for r in session.results if r["identity"]), {})
    grade: dict[str, float] = next(
        (r["grade"] for r in reversed(session.results) if r["grade"]), {}
    )  # as it was at the end
    counts = "".join(
        f'<div class="count {v}"><b>{session.count(v)}</b>{word}</div>' for v, word in WORDS.items()
    )
    when = datetime.datetime.fromtimestamp(session.began_s, datetime.UTC)
    about = identity | {
        "begun": f"{when:%Y-%m-%d %H:%M} UTC",
        "host": f"Python {platform.python_version()}, {platform.system()}",
    }
    about |= {k.replace("_", " "): f"{v:g}" for k, v in grade.items()}
    rows = "".join(
        f"<dt>{escape(k.replace('_', ' '))}</dt><dd>{escape(str(v))}</dd>" for k, v in about.items()
    )
    made = "passed" if not session.count("fail") and not session.gaps else "failed"
    title = f"HIL report: {session.rig}"
    return (
        f"<header><h1>{escape(title)}</h1><p>Run {made}; {_covered(session)}; "
        f"solid-bms {__version__}.</p>"
        f'<div class="counts">{counts}</div><dl>{rows}</dl></header>'
    )


def _covered(session: Session) -> str:
    """How many requirements this run has verified: a run that passed may have skipped most."""
    ran = {one for r in session.results if r["verdict"] in ("pass", "fail")
           for one in r["requirements"]}  # fmt: skip
    return f"{len(ran)} of {len(session.known)} requirements judged on this rig"


def _gaps(session: Session) -> str:
    if not session.gaps:
        return ""
    lines = "".join(f"<li>{escape(g)}</li>" for g in session.gaps)
    title = "Gaps between requirements and tests"
    return f'<section><h2>{title}</h2><ul class="fail">{lines}</ul></section>'


def _matrix(session: Session) -> str:
    """Requirements against the tests that verify them."""
    by_id: dict[str, list[Result]] = {}
    for result in session.results:
        for one in result["requirements"]:
            by_id.setdefault(one, []).append(result)
    grouped = requirements.groups(session.folder) if session.folder else {}
    listed = {one for ids in grouped.values() for one in ids}
    rest = tuple(sorted(set(by_id) - listed))
    grouped = grouped | ({"Requirements of the tests themselves": rest} if rest else {})
    rows = []
    for title, ids in grouped.items():
        rows.append(f'<tr class="group"><th colspan="4">{escape(title)}</th></tr>')
        for one in ids:
            rows.append(_matrix_row(session, one, by_id.get(one, [])))
    head = "<tr><th>Requirement</th><th>What is asked</th><th>Verdict</th><th>Tests</th></tr>"
    table = f"<table class='matrix'>{head}{''.join(rows)}</table>"
    return f"<section><h2>Requirements</h2>{table}</section>"


def _matrix_row(session: Session, one: str, results: list[Result]) -> str:
    verdicts = [r["verdict"] for r in results]
    worst = next((v for v in ("fail", "not_run", "pass", "skip") if v in verdicts), "not_run")
    known = session.known.get(one)
    text, source = (known.text, known.source) if known else ("", "")
    links = ", ".join(
        f'<a class="{r["verdict"]}" href="#{_anchor(r)}">{escape(_words(r["id"]))}</a>'
        for r in results
    )
    return (
        f'<tr><td class="id">{escape(one)}</td><td>{escape(text)}'
        f"<small>{escape(source)}</small></td>"
        f'<td class="{worst}">{WORDS[worst]}</td><td>{links}</td></tr>'
    )


def _reactions(session: Session) -> str:
    """Every time against its limit."""
    rows = []
    for result in session.results:
        for v in result["verdicts"]:
            if v["unit"] in ("ms", "s") and v["limit"] == v["limit"] and "within" in v["text"]:
                rows.append(
                    f'<tr><td><a href="#{_anchor(result)}">{escape(v["text"])}</a></td>'
                    f"<td class='number'>{_number(v['measured'])}</td>"
                    f"<td class='number'>{_number(v['limit'])}</td><td>{v['unit']}</td>"
                    f"<td class='used'>{_bar(v)}</td></tr>"
                )
    if not rows:
        return ""
    head = _header("Reaction", "#Measured", "#Limit", "", "Used")
    return f"<section><h2>Reaction times</h2><table>{head}{''.join(rows)}</table></section>"


def _bar(v: dict[str, Any]) -> str:
    measured, limit = v["measured"], v["limit"]
    if measured != measured or limit <= 0:
        return ""
    share = min(1.0, max(0.0, measured / limit))
    kind = "pass" if v["passed"] else "fail"
    return (
        f'<span class="bar"><i class="{kind}" style="width:{100 * share:.0f}%"></i></span>'
        f"{100 * measured / limit:.0f} %"
    )


def _skips(session: Session) -> str:
    found = [r for r in session.results if r["verdict"] in ("skip", "not_run")]
    rows = "".join(
        f"<tr><td>{escape(_words(r['id']))}</td><td>{escape(r['text'])}</td></tr>" for r in found
    )
    if not rows:
        return ""
    return f"<section><h2>Skipped and not run</h2><table>{rows}</table></section>"


def _tests(session: Session) -> str:
    order = {"fail": 0, "not_run": 1, "pass": 2, "skip": 3}
    found = sorted(session.results, key=lambda r: order[r["verdict"]])
    return f"<section><h2>Tests</h2>{''.join(_test(session, r) for r in found)}</section>"


def _test(session: Session, result: Result) -> str:
    rows = "".join(
        f'<tr><td>{escape(v["text"])}</td><td class="number">{_number(v["measured"])}</td>'
        f'<td class="number">{_number(v["limit"])}</td><td>{escape(v["unit"])}</td>'
        f'<td class="number">{_number(v["margin"]) if v["limit"] == v["limit"] else ""}</td>'
        f"{HOLDS[v['passed']]}</tr>"
        for v in result["verdicts"]
    )
    head = _header("Verdict", "#Measured", "#Limit", "", "#Margin", "")
    table = f"<table>{head}{rows}</table>" if rows else ""
    again = f'bms hil --rig {session.rig} -k "{_short(result["id"]).partition("[")[0]}"'
    kept = f"<p>Recording: {escape(result['recording'])}</p>" if result["recording"] else ""
    pictures = "".join(svg(p) for p in result["pictures"])
    is_open = " open" if result["verdict"] == "fail" else ""
    said = f"<p class='fail'>{escape(result['text'])}</p>" if result["verdict"] == "fail" else ""
    said += "".join(f"<p>Run again: {escape(why)}.</p>" for why in result["again"])
    return (
        f'<details id="{_anchor(result)}"{is_open}><summary><b class="{result["verdict"]}">'
        f"{WORDS[result['verdict']]}</b> {escape(_words(result['id']))} "
        f"<small>{escape(', '.join(result['requirements']))}, {result['seconds']:.2f} s</small>"
        f"</summary>{said}{table}{pictures}{kept}<p><code>{escape(again)}</code></p></details>"
    )


def _short(test: str) -> str:
    return test.rpartition("::")[2]


def _header(*names: str) -> str:
    """A row of headings; one that begins with # stands over numbers."""
    cells = (
        f"<th class='number'>{n[1:]}</th>" if n.startswith("#") else f"<th>{n}</th>" for n in names
    )
    return f"<tr>{''.join(cells)}</tr>"


def _words(test: str) -> str:
    return _short(test).removeprefix("test_").replace("_", " ")


def _anchor(result: Result) -> str:
    return "t-" + "".join(c if c.isalnum() else "-" for c in result["id"])


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6g}"
