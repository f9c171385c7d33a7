"""The journal of the firmware's memory against cuts at every byte, silent failures, rot and wear.

The claims are judged in journal_cut.c; here it is compiled, run, and shown to find planted errors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = ["-std=c99", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-funsigned-char"]


def build(project_dir: Path, folder: Path, journal: str | None = None) -> Path:
    compiler = next((c for c in ("gcc", "clang") if shutil.which(c)), None)
    if compiler is None:
        pytest.skip("no C compiler: make test-tools")
    firmware = project_dir / "ext/firmware"
    source = folder / "journal.c"
    source.write_text(journal or (firmware / "journal.c").read_text())
    program = folder / "journal_cut"
    sources = [project_dir / "tests/c/journal_cut.c", source, firmware / "crc.c"]
    done = subprocess.run(
        [compiler, *FLAGS, f"-I{firmware}", *map(str, sources), "-o", str(program)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [str(program), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), timeout=280)


def number(program: Path, *arguments: object) -> int:
    """The count it prints; its claims must hold."""
    done = run(program, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"\d+", done.stdout)[0])


@pytest.fixture(scope="module")
def program(project_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(project_dir, tmp_path_factory.mktemp("journal"))


def test_a_cut_at_any_byte_of_any_operation_leaves_the_last_record_or_the_new_one(
    program: Path, seed: int
) -> None:
    assert number(program, "single", 250, seed) == 250 * 65


def test_two_cuts_leave_it_as_well(program: Path, seed: int) -> None:
    assert number(program, "double", 4000, seed) == 4000


@pytest.mark.long("325 000 single and 100 000 double cuts")
def test_a_long_history_survives_every_cut(program: Path, seed: int) -> None:
    assert number(program, "single", 5000, seed) == 5000 * 65
    assert number(program, "double", 100_000, seed) == 100_000


def test_writes_that_fail_silently_are_found_and_made_good(program: Path, seed: int) -> None:
    assert number(program, "silent", 20_000, seed) > 1000


def test_a_page_that_rots_takes_nothing_with_it_that_is_kept_twice(
    program: Path, seed: int
) -> None:
    number(program, "rot", 1000, seed)


def test_pages_wear_evenly(program: Path, seed: int) -> None:
    done = run(program, "wear", 30_000, seed)
    low, mean, high = map(float, re.findall(r"[\d.]+", done.stdout)[:3])
    assert mean > 100 and low > 0.9 * mean and high < 1.1 * mean, done.stdout


PLANTED = {
    "the lower sequence wins": (
        "return a != b && a - b < 0x80000000u;", "return a != b && b - a < 0x80000000u;", "single",
    ),
    "the check code is not looked at": (
        "else if (get_u32_le(done->data + AT_CRC) == page_crc(done->data))",
        "else if (!is_erased(done->data))", "single",
    ),
    "live pages are erased": (
        "if (j->owner[j->head] == JOURNAL_NONE) return true;", "return true;", "silent",
    ),
    "what was written is not compared": (
        "if (good && memcmp(done->data, j->page, sizeof j->page) == 0) committed(j);",
        "if (good) committed(j);", "silent",
    ),
    "a missing copy is not made again": ("    heal(j);", "    (void)heal;", "rot"),
    "each try has the same sequence": ("    j->sequence += 1u; /*", "    /*", "single"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_it_finds_a_planted_error(project_dir: Path, tmp_path: Path, name: str) -> None:
    right, wrong, mode = PLANTED[name]
    text = (project_dir / "ext/firmware/journal.c").read_text()
    assert text.count(right) == 1
    done = run(build(project_dir, tmp_path, text.replace(right, wrong)), mode, 3000, 1)
    assert done.returncode == 1, f"{name}: {done.stdout}"
