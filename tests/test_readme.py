"""What the README shows works, and what it points at exists."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest


def missing_links(folder: Path, text: str) -> list[str]:
    """Relative link targets of a page that do not exist."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    return [t for t in targets if "://" not in t and not (folder / t).exists()]


@pytest.mark.parametrize("page", ["README.md", "DESIGN.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(page: str, project_dir: Path) -> None:
    assert not missing_links(project_dir, (project_dir / page).read_text("utf-8"))


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    assert missing_links(tmp_path, "[a](b.md) and ![c](d.png)") == ["b.md", "d.png"]


def test_every_place_in_the_table_exists(project_dir: Path) -> None:
    text = (project_dir / "README.md").read_text("utf-8")
    table = text.partition("## What is where")[2].partition("## ")[0]
    names = re.findall(
        r"`([\w./]+)`",
        "\n".join(line.split("|")[1] for line in table.splitlines() if line[:1] == "|"),
    )
    assert len(names) > 10
    places = ("", "src/bms")
    assert not [n for n in names if not any((project_dir / p / n).exists() for p in places)]


def test_every_command_of_the_table_exists(project_dir: Path) -> None:
    text = (project_dir / "README.md").read_text("utf-8")
    shown = {
        name.replace("-", "_") for name in re.findall(r"^\| `bms ([\w-]+)", text, re.MULTILINE)
    }
    files = {path.stem for path in (project_dir / "src" / "bms" / "cli").glob("*.py")}
    project = tomllib.loads((project_dir / "pyproject.toml").read_text("utf-8"))["project"]
    assert len(shown) > 5 and not shown - files - set(project["entry-points"]["bms.commands"])


@pytest.mark.slow("simulates half an hour of driving")
def test_the_example_runs(project_dir: Path) -> None:
    text = (project_dir / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.strip().splitlines()) <= 22
    said = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), names)
    assert "times real time, 0 trips" in said.getvalue()
    assert "main plus closed" in said.getvalue()
    error = float(re.findall(r"SoC error ([\d.e-]+)", said.getvalue())[0])
    assert error < 0.1
