"""The documentation is true: its site builds, its links lead somewhere, and its commands run.

A block of a page marked `sh` is what a reader types, and is executed here: all blocks of a page in
order, in one folder of its own, with `bms` and `python` as the reader has them. In tutorials and
how-tos `python` blocks run as well. A block that cannot run says why in the line before it:

    <!-- not run: needs a CAN adapter -->
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- not run: (.{8,}?) -->\n$")
SHELLS = ("sh", "bash", "console", "shell")
TYPED = re.compile(r"^(?:\$ |\w+=\S+ )*(?:bms|make|pip|python3?|mkdocs|apt-get) \S")
RUN_PYTHON = ("tutorials", "howto")


class Block(NamedTuple):
    """A fenced block; `reason` why it is not run."""

    page: str
    line: int
    kind: str
    text: str
    reason: str

    @property
    def is_python(self) -> bool:
        return self.kind == "python"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that a test can run."""
    text, found = page.read_text("utf-8"), []
    name = page.relative_to(ROOT).as_posix()
    for match in FENCE.finditer(text):
        kind, body = match.groups()
        is_command = kind in SHELLS or (kind == "python" and page.parent.name in RUN_PYTHON)
        if is_command:
            reason = MARK.search(text[: match.start()])
            line = text[: match.start()].count("\n") + 1
            found.append(Block(name, line, kind, body, reason[1] if reason else ""))
    return found


def hidden_commands(text: str) -> list[str]:
    """Lines of code that look like commands, but stand where no test finds them."""
    shells = [m.span() for m in FENCE.finditer(text) if m[1] in SHELLS]
    fenced = [m for m in FENCE.finditer(text) if m[1] in ("", "text")]
    lines = [(m.start(2), line) for m in fenced for line in m[2].splitlines()]
    inside = [m.span() for m in FENCE.finditer(text)]
    for found in re.finditer(r"^(?:    |\t)(\S.*)$", text, re.MULTILINE):
        if not any(a <= found.start() < b for a, b in inside):
            lines.append((found.start(), found[1]))
    return [
        line for at, line in lines
        if TYPED.match(line) and not any(a <= at < b for a, b in shells)
    ]  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """A shell in which `bms` and `python` are this tree's."""
    tools = folder / ".bin"
    tools.mkdir(exist_ok=True)
    for name, words in {
        "bms": [sys.executable, "-m", "bms.cli"],
        "python": [sys.executable],
    }.items():
        (tools / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
        (tools / name).chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if k not in ("BMS_DATA_DIR",)}
    path = f"{tools}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "Agg"}


def run(page: Path, folder: Path) -> list[str]:
    """Execute a page's blocks; what failed."""
    for place in ("examples", "ext"):
        (folder / place).symlink_to(ROOT / place)
    inherited, python = environment(folder), ""
    for block in blocks(page):
        if block.reason:
            continue
        if block.is_python:  # names of earlier blocks stay known, as in a notebook
            words = [sys.executable, "-c", python + block.text]
            python += block.text
        else:
            words = ["sh", "-e", "-u", "-c", block.text]
        result = subprocess.run(
            words, cwd=folder, env=inherited, capture_output=True, text=True, check=False,
            timeout=240, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if result.returncode:
            told = (result.stdout + result.stderr)[-1500:]
            return [f"{block.page}:{block.line}: exit code {result.returncode}\n{block.text}{told}"]
    return []


def has_commands(page: Path) -> bool:
    return any(not block.reason for block in blocks(page))


@pytest.mark.slow("runs what a reader would type")
@pytest.mark.parametrize(
    "page", [p for p in PAGES if has_commands(p)], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_every_command_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    needs = {"howto/fmu.md": "fmpy", "howto/exchange.md": "asammdf", "howto/bpx.md": "bpx"}
    for place, module in needs.items():
        if page.as_posix().endswith(place):
            pytest.importorskip(module)
    assert not run(page, tmp_path)


def test_no_command_hides_from_the_tests() -> None:
    pages = [*PAGES, ROOT / "README.md"]
    found = {p.name: hidden_commands(p.read_text("utf-8")) for p in pages}
    assert not {name: lines for name, lines in found.items() if lines}


def test_what_is_not_run_says_why() -> None:
    listed = [f"{b.page}:{b.line}: {b.reason}" for p in PAGES for b in blocks(p) if b.reason]
    print("\n".join(["not run:", *listed]))
    marked = re.compile(r"<!-- not run: .{8,}? -->\n```")
    for page in PAGES:
        text = page.read_text("utf-8")
        assert text.count("<!-- not run") == len(marked.findall(text)), (
            f"{page.name}: a mark stands directly above its block and has a reason"
        )


def test_the_checkers_see_what_they_are_for(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "tutorials" / "a.md"
    page.parent.mkdir(parents=True)
    page.write_text("```sh\nfalse\n```\n", "utf-8")
    try:
        globals()["ROOT"], kept = tmp_path, ROOT
        (found,) = blocks(page)
        assert found.text == "false\n" and not found.reason
    finally:
        globals()["ROOT"] = kept
    assert hidden_commands("    bms run drive\n") == ["bms run drive"]
    assert hidden_commands("```\nBMS_X=1 bms run drive\n```\n") == ["BMS_X=1 bms run drive"]
    assert not hidden_commands("```sh\nbms run drive\n```\n\n    P = V I\n")
    assert MARK.search("text\n<!-- not run: needs a CAN adapter -->\n")
    assert not MARK.search("<!-- not run: -->\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="pip install 'solid-bms[docs]'")
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "-q", "build", "--strict", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow("builds the whole site")
def test_the_site_builds_without_a_warning_and_knows_every_command(site: Path) -> None:
    from bms import cli

    text = (site / "reference" / "commands.html").read_text("utf-8")
    assert all(f"bms-{name}" in text for name in cli.commands())
    assert all((site / "pictures" / f"{name}.svg").stat().st_size > 9000
               for name in ("ocv", "resistance", "pressure"))  # fmt: skip


def test_the_site_needs_no_network(site: Path) -> None:
    loads = re.compile(r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="(https?:)?//[^"]*"')
    for page in site.rglob("*.html"):
        found = loads.search(page.read_text("utf-8"))
        assert found is None or 'rel="canonical"' in found[0], f"{page.name}: {found}"


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    dead = []
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text("utf-8")):
            if not re.match(r"[a-z]+:|//", target) and not (page.parent / target).exists():
                dead.append(f"{page.relative_to(site)} -> {target}")
    assert not dead
