"""The tables of docs/fuzzing.md are those that tools/fuzz_tables.py makes."""

from __future__ import annotations

import sys
from pathlib import Path


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
