"""The firmware compiles alone, strictly, with every compiler at hand, and calls no library."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

STRICT = [
    "-std=c99",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Werror",
]
HOST = [*STRICT, "-O3", "-fno-math-errno", "-fno-trapping-math", "-funsigned-char", "-Wswitch-enum"]
CORTEX_M4F = [
    *STRICT, "-O2", "-ffreestanding", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16",
    "-mfloat-abi=hard", "-DBMS_CELLS_MAX=96",
]  # fmt: skip
ALLOWED = {"memcpy", "memset", "memmove", "memcmp"}


def sources(project_dir: Path) -> list[Path]:
    found = sorted((project_dir / "ext/firmware").glob("*.c")) + sorted(
        (project_dir / "ext/firmware/generated").glob("*.c")
    )
    assert len(found) >= 15
    return found


def build(project_dir: Path, folder: Path, compiler: str, flags: list[str]) -> list[Path]:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    includes = [
        f"-I{project_dir / 'ext' / place}" for place in ("common", "firmware", "firmware/generated")
    ]
    made = []
    for source in sources(project_dir):
        made.append(folder / f"{source.stem}.o")
        done = subprocess.run(
            [compiler, *flags, *includes, "-c", source, "-o", made[-1]],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow("compiles the firmware with full optimisation")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_compiles_without_a_warning(project_dir: Path, tmp_path: Path, compiler: str) -> None:
    build(project_dir, tmp_path, compiler, HOST)


@pytest.mark.slow("compiles the firmware with full optimisation")
def test_it_compiles_freestanding_for_a_cortex_m4f_and_calls_no_library(
    project_dir: Path, tmp_path: Path
) -> None:
    objects = build(project_dir, tmp_path, "arm-none-eabi-gcc", CORTEX_M4F)
    listing = subprocess.run(
        ["arm-none-eabi-nm", *map(str, objects)], capture_output=True, text=True, check=True
    ).stdout
    defined = set(re.findall(r" [TtDdRrBbV] (\w+)", listing))
    wanted = set(re.findall(r" U (\w+)", listing))
    outside = {name for name in wanted - defined if not name.startswith("__aeabi_")}
    assert outside <= ALLOWED, outside


def test_it_says_nothing_it_must_not_know(project_dir: Path) -> None:
    for path in [
        *(project_dir / "ext/firmware").glob("*.[ch]"),
        *(project_dir / "src/bms/firmware").glob("*.py"),
    ]:
        text = path.read_text()
        assert "true_" not in text, path
        assert not re.search(r"#include <(stdio|stdlib|math|errno|time)\.h>", text), path
