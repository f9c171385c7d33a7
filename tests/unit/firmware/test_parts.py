"""Claims about single parts of the firmware, written in C: parts/*.c."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools/guard"))
import parts

CLAIMS = [(file, name) for file, names in parts.claims().items() for name in names]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bool], str]:
    compiler = os.environ.get("CC") or next((c for c in ("gcc", "clang") if shutil.which(c)), None)
    if compiler is None:
        pytest.skip("no C compiler: make test-tools")
    folder = tmp_path_factory.mktemp("parts")
    program = parts.build(folder, compiler, ("-O0",))
    return parts.run(program, parts.snapshots(folder / "states"))


@pytest.mark.xdist_group("parts")
@pytest.mark.parametrize(("file", "claim"), CLAIMS)
def test_part(judged: tuple[dict[str, bool], str], file: str, claim: str) -> None:
    verdicts, said = judged
    told = [line for line in said.splitlines() if f"/{file}.c:" in line or file in line]
    assert verdicts.get(claim), "\n".join(told)
