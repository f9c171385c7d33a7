"""Compiled links under sanitizers: hostile bytes, and threads on one bus."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = [
    "-std=c99", "-D_DEFAULT_SOURCE", "-O1", "-g", "-funsigned-char", "-Wall", "-Wextra", "-Werror",
    "-fno-sanitize-recover=all",
]  # fmt: skip
BYTES = "-fsanitize=address,undefined"


def build(compiler: str, root: Path, out: Path, name: str, *more: str) -> Path:
    """A program of tests/c with all of ext/links; skips without compiler or sanitizers."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}: make test-tools")
    ext = root / "ext"
    sources = [root / f"tests/c/{name}.c", *sorted((ext / "links").glob("*.c"))]
    includes = [f"-I{ext}", f"-I{ext / 'common'}", f"-I{ext / 'firmware'}"]
    probe = subprocess.run(
        [compiler, *FLAGS, *more, *includes, *map(str, sources), "-o", str(out), "-lpthread"],
        capture_output=True, text=True,
    )  # fmt: skip
    if "cannot find" in probe.stderr and re.search("asan|tsan|fuzzer", probe.stderr):
        pytest.skip(
            f"no sanitizers for {compiler}: on Debian 12, apt-get install libclang-rt-14-dev"
        )
    assert probe.returncode == 0, probe.stderr
    return out


def run(program: Path, *arguments: object) -> str:
    """What it says; it must end well."""
    words = [str(program), *map(str, arguments)]
    found = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    )
    assert found.returncode == 0, (found.stdout + found.stderr)[-4000:]
    return found.stdout + found.stderr


def check(text: str, count: int) -> None:
    found = re.search(r"inputs (\d+) frames (\d+) malformed (\d+)", text)
    assert found and int(found[1]) == count
    assert int(found[2]) > count / 20 and int(found[3]) > count / 20


@pytest.mark.wires
@pytest.mark.slow("compiles with sanitizers")
def test_hostile_bytes_do_no_harm(project_dir: Path, tmp_path: Path, seed: int) -> None:
    program = build("gcc", project_dir, tmp_path / "links_bytes", "links_bytes", BYTES)
    check(run(program, 100_000, seed), 100_000)


@pytest.mark.wires
@pytest.mark.long("ten million inputs")
@pytest.mark.timeout(3600)
def test_ten_million_hostile_inputs_do_no_harm(
    project_dir: Path, tmp_path: Path, seed: int
) -> None:
    program = build("gcc", project_dir, tmp_path / "links_bytes", "links_bytes", BYTES)
    check(run(program, 10_000_000, seed), 10_000_000)


@pytest.mark.wires
@pytest.mark.long("a coverage-guided fuzzer")
@pytest.mark.timeout(3600)
def test_inputs_guided_by_coverage_do_no_harm(project_dir: Path, tmp_path: Path, seed: int) -> None:
    more = ("-DFUZZER", "-fsanitize=fuzzer", BYTES)
    program = build("clang", project_dir, tmp_path / "links_fuzz", "links_bytes", *more)
    text = run(program, "-runs=3000000", "-max_len=512", f"-seed={seed + 1}")
    assert "DONE" in text


@pytest.mark.wires
@pytest.mark.slow("the thread sanitizer")
def test_threads_share_a_bus_without_a_race(project_dir: Path, tmp_path: Path) -> None:
    threads = "-fsanitize=thread"
    program = build("gcc", project_dir, tmp_path / "links_threads", "links_threads", threads)
    assert run(program) == "fine\n"
