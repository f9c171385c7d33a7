"""The tables of the manuals are there, and of what is shipped."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_every_measured_table_of_the_manuals_is_filled(project_dir: Path) -> None:
    tool = project_dir / "tools/estimator_tables.py"
    done = subprocess.run(
        [sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_of_fits_has_every_shipped_manifest(project_dir: Path) -> None:
    page = (project_dir / "docs/fit.md").read_text("utf-8")
    table = page.partition("<!-- fit -->")[2].partition("<!-- end -->")[0]
    told = set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE))
    assert told == {path.stem for path in (project_dir / "examples/fit").glob("*.toml")}
