"""docs/links.md: its Python runs, and it names every kind of URL there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bms import links


@pytest.mark.wires
def test_the_python_of_the_page_runs(project_dir: Path, tmp_path: Path) -> None:
    page = (project_dir / "docs/links.md").read_text("utf-8")
    blocks = re.findall(r"(<!-- not run: .*? -->\n)?```python\n(.*?)```", page, re.DOTALL)
    runnable = [body for mark, body in blocks if not mark]
    assert len(runnable) == 2 and len(blocks) == 3
    for body in runnable:
        found = subprocess.run(
            [sys.executable, "-c", body], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert found.returncode == 0, found.stderr


def test_the_page_names_every_kind(project_dir: Path) -> None:
    page = (project_dir / "docs/links.md").read_text("utf-8")
    assert [kind for kind in links.available() if f"`{kind}:" not in page] == []
