"""The tables of docs/fuzzing.md are those that tools/fuzz_tables.py makes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bms.cli import main


def test_the_tables_are_up_to_date(project_dir: Path) -> None:
    sys.path.insert(0, str(project_dir / "tools"))
    try:
        import fuzz_tables
    finally:
        sys.path.pop(0)
    page = (project_dir / "docs" / "fuzzing.md").read_text()
    assert page == fuzz_tables.tables(page, fuzz_tables.kept()), "python tools/fuzz_tables.py"
    assert set(fuzz_tables.kept()) <= {path.stem for path in fuzz_tables.hunt.planted()}
    reached = (project_dir / "docs" / "fuzzing-coverage.md").read_text()
    assert reached == fuzz_tables.reached(), "python tools/fuzz_tables.py"


def test_the_seeds_on_the_page_end_with_the_hashes_on_the_page(
    project_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a reader does it: the commands as they stand there."""
    page = (project_dir / "docs" / "fuzzing.md").read_text()
    rows = re.findall(r"^\| `bms (fuzz --replay [^`]+)` \| `(\w+)` \| `(\w+)` \|$", page, re.M)
    assert len(rows) >= 3
    for command, trace, truth in rows:
        assert main(command.split()) == 0
        told = capsys.readouterr().out.splitlines()[-1]
        assert told == f"trace {trace} truth {truth}", "python tools/fuzz_tables.py"
