"""The loop of the bridge under sanitizers: hostile rules, links and frames."""

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
CANBUS = ("canbus", "length", "confine", "trouble")


def build(compiler: str, root: Path, out: Path, sanitizers: str, *more: str) -> Path:
    """The program with all of ext/bridge; skips without compiler or sanitizers."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}: make test-tools")
    ext = root / "ext"
    sources = [root / "tests/c/bridge_bytes.c", *sorted((ext / "bridge").glob("*.c"))]
    sources += [ext / "canbus" / f"{name}.c" for name in CANBUS]
    includes = [f"-I{ext}", f"-I{ext / 'common'}", f"-I{ext / 'firmware'}"]
    made = subprocess.run(
        [compiler, *FLAGS, f"-fsanitize={sanitizers}", *more, *includes, *map(str, sources),
         "-o", str(out)],
        capture_output=True, text=True,
    )  # fmt: skip
    if "cannot find" in made.stderr and re.search("asan|fuzzer", made.stderr):
        pytest.skip(
            f"no sanitizers for {compiler}: on Debian 12, apt-get install libclang-rt-14-dev"
        )
    assert made.returncode == 0, made.stderr
    return out


def run(program: Path, *arguments: object) -> str:
    """What it says; it must end well."""
    found = subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    assert found.returncode == 0, (found.stdout + found.stderr)[-4000:]
    return found.stdout + found.stderr


def check(text: str, count: int) -> None:
    """Rules let some frames pass and drop others, so that all of the loop was at work."""
    found = re.search(r"inputs (\d+) frames (\d+) sent (\d+) dropped (\d+)", text)
    assert found and int(found[1]) == count
    assert all(int(number) > count for number in found.groups()[1:])


@pytest.mark.slow("compiles with sanitizers")
def test_hostile_rules_and_frames_do_no_harm_and_are_accounted_for(
    project_dir: Path, tmp_path: Path, seed: int
) -> None:
    program = build("gcc", project_dir, tmp_path / "bridge_bytes", "address,undefined")
    check(run(program, 50_000, seed), 50_000)


@pytest.mark.long("ten million inputs")
@pytest.mark.timeout(3600)
def test_ten_million_inputs_do_the_loop_no_harm(
    project_dir: Path, tmp_path: Path, seed: int
) -> None:
    program = build("gcc", project_dir, tmp_path / "bridge_bytes", "address,undefined")
    check(run(program, 10_000_000, seed), 10_000_000)


@pytest.mark.long("a coverage-guided fuzzer")
@pytest.mark.timeout(3600)
def test_inputs_guided_by_coverage_do_the_loop_no_harm(
    project_dir: Path, tmp_path: Path, seed: int
) -> None:
    sanitizers = "address,undefined,fuzzer"
    program = build("clang", project_dir, tmp_path / "bridge_fuzz", sanitizers, "-DFUZZER")
    text = run(program, "-runs=2000000", "-max_len=1500", f"-seed={seed + 1}")
    assert "DONE" in text
