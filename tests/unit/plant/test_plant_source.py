"""The C of the plant compiles without a warning, and every field says what it is."""

import os
import shutil
import subprocess
from itertools import pairwise

import pytest
from bms._plant import Plant, describe

FLAGS = [
    "-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-funsigned-char", "-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wswitch-enum",
    "-Werror", "-Iext", "-Iext/common",
]  # fmt: skip


@pytest.mark.parametrize("compiler", ("gcc", "clang"))
def test_the_plant_compiles_without_a_warning(project_dir, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    sources = sorted((project_dir / "ext/plant").glob("*.c"))
    assert len(sources) >= 6
    for source in sources:
        done = subprocess.run(
            [compiler, *FLAGS, "-c", str(source.relative_to(project_dir)), "-o", os.devnull],
            cwd=project_dir,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_the_plant_needs_nothing_from_the_mathematics_library(project_dir):
    for source in (project_dir / "ext/plant").glob("*.[ch]"):
        assert "math.h" not in source.read_text().replace("exactmath.h", "")


def test_every_field_has_a_unit_and_a_meaning():
    info = Plant().info
    assert len(info) == len(describe()) > 150
    for name, (unit, text) in info.items():
        assert unit and text, name


def test_fields_are_aligned_and_none_overlaps():
    places = sorted((offset, count, dtype) for _, _, _, offset, count, dtype in describe())
    for (here, count, dtype), (there, _, _) in pairwise(places):
        assert here + count * int(dtype[-1]) <= there
    fields = Plant().fields
    assert all(v.flags.aligned and v.flags.writeable for v in fields.values())
