"""What a house rule is, and the files it looks at.

The rules stand in `rules_*.py`, the tests in `test_*.py`. A rule is a function from a file's path
(relative to the project, with slashes) and text to the lines that break it. Because it is pure,
each rule also carries examples it must and must not fire on: a checker that cannot find anything is
worse than none.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("src", "ext", "gui", "hil", "tests", "tools", "examples", "docs", ".ci")
CODE = {".py", ".pyx", ".pxd", ".pxi", ".c", ".h", ".ld", ".s"}
KINDS = CODE | {".toml", ".dbc", ".md", ".j2", ".css", ".html", ".csv", ".in", ""}
SKIP = {"__pycache__", "build", "generated"}  # what a tool wrote is the tool's business

Finding = tuple[int, str]
Check = Callable[[str, str], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """`files` are globs (* also crosses slashes). `allowed`: path to why it may break the rule."""

    name: str
    why: str
    files: tuple[str, ...]
    check: Check
    bad: tuple[tuple[str, str], ...]
    good: tuple[tuple[str, str], ...] = ()
    allowed: dict[str, str] = field(default_factory=dict)

    def covers(self, path: str) -> bool:
        """Whether the rule looks at this file."""
        return path not in self.allowed and any(fnmatch.fnmatch(path, p) for p in self.files)

    def broken_by(self, path: str, text: str) -> list[str]:
        """What is wrong in one file, as `path:line: message`."""
        return [f"{path}:{line}: {message}" for line, message in self.check(path, text)]


@cache
def tree() -> dict[str, str]:
    """Path to text of everything that is ours, built files left out."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for place in PLACES:
        found += [path for path in (ROOT / place).rglob("*") if path.is_file()]
    texts = {}
    for path in found:
        name = path.relative_to(ROOT).as_posix()
        skip = SKIP & set(path.relative_to(ROOT).parts) or ".egg-info" in name
        if path.suffix in KINDS and not skip and path.stat().st_size < 1_500_000:
            texts[name] = path.read_text("utf-8", errors="replace")
    return dict(sorted(texts.items()))


def everywhere(rule: Rule) -> list[str]:
    """Every place in the project that breaks the rule."""
    return [
        line
        for path, text in tree().items()
        if rule.covers(path)
        for line in rule.broken_by(path, text)
    ]
