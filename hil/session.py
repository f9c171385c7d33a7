"""One run of the suite: results as they come, gaps between requirements and tests, the report."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bms_hil import requirements
from bms_hil.plugin import tell
from bms_hil.requirements import Requirement
from bms_hil.verdicts import Log, Picture

if TYPE_CHECKING:
    import pytest
    from bms_hil.rig import Rig

POINTS = 400  # of a curve in the report: least and most of each stretch
PICTURES = 3  # of one test
Result = dict[str, Any]
VERDICTS = {"passed": "pass", "failed": "fail", "skipped": "skip"}


def result_of(
    test: str,
    ids: tuple[str, ...],
    report: pytest.TestReport,
    rig: Rig | None,
    log: Log | None,
    keep: str | None,
) -> Result:
    """What is told of one test, as JSON."""
    verdict, text = VERDICTS[report.outcome], ""
    if report.skipped:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        text = text.removeprefix("Skipped: ")
        verdict = "not_run" if text.startswith("not run:") else "skip"
    elif report.failed:
        text = _first_line(report)
    tightest = log.tightest if log else None
    kept = None
    if verdict == "fail" and rig is not None and keep:
        path = Path(keep) / f"{_file_name(test)}.arrow"
        path.parent.mkdir(parents=True, exist_ok=True)
        where = rig.keep(path)
        kept = str(path if where is True else where) if where else None
    return {
        "id": test, "requirements": list(ids), "verdict": verdict,
        "text": text or (str(tightest) if tightest else ""),
        "measured": tightest.measured if tightest else None,
        "limit": tightest.limit if tightest else None,
        "unit": tightest.unit if tightest else "",
        "seconds": round(report.duration, 4), "recording": kept,
        "verdicts": [_plain(v) for v in log.verdicts] if log else [],
        "pictures": [_picture(p) for p in log.pictures[-PICTURES:]] if log else [],
        "identity": rig.identity() if rig is not None else {},
        "grade": rig.grade() if rig is not None else {},
    }  # fmt: skip


def never_ran(test: str, ids: tuple[str, ...]) -> Result:
    """What is told of a test that the end of the run came before."""
    return {
        "id": test, "requirements": list(ids), "verdict": "not_run",
        "text": "not run: the run was ended before it", "measured": None, "limit": None,
        "unit": "", "seconds": 0.0, "recording": None, "verdicts": [], "pictures": [],
        "identity": {}, "grade": {}, "again": [],
    }  # fmt: skip


def _first_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr)
    return (
        text.splitlines()[0].removeprefix("bms_hil.verdicts.VerdictError: ") if text else "failed"
    )


def _file_name(test: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in test.rpartition("/")[2])


def _plain(verdict: Any) -> dict[str, Any]:
    names = ("text", "passed", "measured", "limit", "unit", "margin", "at_s")
    return {n: getattr(verdict, n) for n in names}


def _picture(picture: Picture) -> dict[str, Any]:
    curves = []
    for name, time_s, values in picture.curves:
        t, v = _envelope(np.asarray(time_s, float), np.asarray(values, float))
        curves.append({"name": name, "time_s": t.tolist(), "values": v.tolist()})
    return {
        "title": picture.title, "unit": picture.unit, "curves": curves,
        "limits": list(picture.limits), "marks": [list(m) for m in picture.marks[:12]],
    }  # fmt: skip


def _envelope(time_s: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS points that keep every spike: the least and the most of each stretch."""
    known = ~np.isnan(values)
    time_s, values = time_s[known], values[known]
    if values.size <= POINTS:
        return time_s, values
    ends = np.linspace(0, values.size, POINTS // 2 + 1).astype(int)
    kept: list[int] = []
    for a, b in pairwise(ends):
        kept += sorted({a + int(values[a:b].argmin()), a + int(values[a:b].argmax())})
    return time_s[kept], values[kept]


class Session:
    """Collects what the run finds; writes JSON lines, the report and what is missing."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        folder, where = option("--hil-requirements"), option("--hil-events")
        self.rig = str(option("--rig"))
        self.folder = Path(folder) if folder else None
        self.report = Path(option("--hil-report")) if option("--hil-report") else None
        self._events = None if where in (None, "-") else Path(where)
        self._tells = where is not None
        self.rounds = int(option("--hil-rounds"))
        self.is_whole = (
            not option("keyword")
            and not option("markexpr")
            and not any("::" in a for a in config.args)
        )
        self.results: list[Result] = []
        self.known: dict[str, Requirement] = requirements.load(self.folder) if self.folder else {}
        self.gaps: list[str] = []
        self.tests: dict[str, tuple[str, ...]] = {}
        self.began_s = time.time()
        if self._events:
            self._events.parent.mkdir(parents=True, exist_ok=True)
            self._events.write_text("")

    def collected(self, tests: dict[str, tuple[str, ...]], own: dict[str, dict[str, str]]) -> None:
        """All tests, before any is deselected."""
        self.tests |= tests
        for one, about in own.items():
            self.known.setdefault(
                one, Requirement(one, about.get("text", ""), about.get("source", ""))
            )
        if self.folder and self.is_whole:
            self.gaps = requirements.gaps(self.known, self.tests)

    def starts(self, count: int) -> None:
        """How many tests will run."""
        self._tell({"event": "start", "tests": count, "rig": self.rig})

    def result(self, found: Result) -> None:
        """A test ended."""
        self.results.append(found)
        kept = ("id", "requirements", "verdict", "text", "measured", "limit", "unit", "seconds",
                "recording", "again")  # fmt: skip
        self._tell({"event": "test"} | {k: _finite(found[k]) for k in kept})

    def count(self, verdict: str) -> int:
        """Tests that ended so."""
        return sum(r["verdict"] == verdict for r in self.results)

    def finish(self, code: int) -> bool:
        """Writes the report; True when the run must fail although every test passed."""
        if self.report:
            from bms_hil.report import write

            write(self, self.report)
        counts = {"passed": "pass", "failed": "fail", "skipped": "skip", "not_run": "not_run"}
        self._tell(
            {"event": "end"} | {k: self.count(v) for k, v in counts.items()}
            | {"report": str(self.report) if self.report else None}
        )  # fmt: skip
        return bool(self.gaps) or self.count("not_run") > 0

    def told(self) -> list[str]:
        """Lines before pytest's summary."""
        lines = [f"requirement gap: {gap}" for gap in self.gaps]
        lines += [f"run again: {r['id']}: {why}" for r in self.results for why in r["again"]]
        reasons = {r["text"] for r in self.results if r["verdict"] == "skip"}
        if reasons and self.count("skip") == len(self.results):  # nothing ran: say why
            lines += [f"skipped: {reason}" for reason in sorted(reasons)]
        if self.report:
            lines.append(f"report: {self.report}")
        return lines

    def _tell(self, line: dict[str, Any]) -> None:
        if self._tells:
            tell(line, self._events)


def _finite(value: Any) -> Any:
    """NaN is no JSON."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
