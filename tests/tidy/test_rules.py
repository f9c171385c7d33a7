"""The project keeps its own rules, and each rule is seen to fire."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

import pytest
import rules_c
import rules_layers
import rules_text
from house import ROOT, Rule, everywhere, tree

RULES = [*rules_layers.RULES, *rules_c.RULES, *rules_text.RULES]
by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@by_name
def test_project_keeps_the_rule(rule: Rule) -> None:
    broken = everywhere(rule)
    assert not broken, f"{rule.why}\n" + "\n".join(broken)


@by_name
def test_rule_fires_on_every_bad_example(rule: Rule) -> None:
    assert rule.bad
    for path, text in rule.bad:
        assert rule.covers(path), path
        assert rule.broken_by(path, text), f"{path}\n{text[:300]}"


@by_name
def test_rule_accepts_every_good_example(rule: Rule) -> None:
    for path, text in rule.good:
        assert rule.covers(path), path
        assert not rule.broken_by(path, text), f"{path}\n{text[:300]}"


@by_name
def test_exceptions_name_files_that_exist_and_need_them(rule: Rule) -> None:
    for path, reason in rule.allowed.items():
        assert reason
        if path in tree():
            assert rule.broken_by(path, tree()[path]), (
                f"{path} keeps {rule.name}: drop the exception"
            )


def test_the_tree_is_seen() -> None:
    seen = tree()
    assert {"setup.py", "src/bms/errors.py", "ext/firmware/ecu.h", "LICENSE", ".ci/run"} <= set(
        seen
    )
    assert not [path for path in seen if path.startswith(("build/", ".venv/"))]


def test_test_files_have_names_of_their_own() -> None:
    """Two test modules of one name cannot be imported by one pytest run."""
    names = Counter(
        PurePosixPath(path).name
        for path in tree()
        if path.startswith("tests/")
        and path.endswith(".py")
        and "__init__" not in path
        and "conftest" not in path
    )
    assert not [name for name, count in names.items() if count > 1]


def commands() -> list[str]:
    """Sub-commands of `bms`, found by their files."""
    files = (ROOT / "src" / "bms" / "cli").glob("*.py")
    return sorted(p.stem.replace("_", "-") for p in files if "\ndef run(" in p.read_text("utf-8"))


def undocumented(names: list[str], pages: str) -> list[str]:
    return [name for name in names if not re.search(rf"\bbms {re.escape(name)}\b", pages)]


def test_every_command_is_documented() -> None:
    pages = "\n".join(text for path, text in tree().items() if path.endswith(".md"))
    assert commands()
    assert not undocumented(commands(), pages)


def test_an_undocumented_command_is_seen() -> None:
    assert undocumented(["run", "packs"], "Type `bms run drive`.") == ["packs"]


def test_ignored_files_cover_what_is_built() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    assert {".venv/", "build/", "dist/", "*.so", "*.egg-info/", "/out/"} <= set(ignored)
