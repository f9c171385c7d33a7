"""What other people's checkers say: ruff, mypy, and two C compilers at their strictest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from house import ROOT

WARNINGS = ("all", "extra", "conversion", "double-promotion", "switch-enum", "vla", "error")
STRICT = (
    *("-std=c99", "-D_DEFAULT_SOURCE", "-O1", "-ffp-contract=off", "-funsigned-char"),
    *(f"-W{name}" for name in WARNINGS),
)
INCLUDE = [
    f"-I{ROOT / place}" for place in ("ext", "ext/common", "ext/firmware", "ext/firmware/generated")
]
CORTEX = (
    *("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    *("-fno-short-enums", "-ffreestanding"),
)
INSTALL = {
    "gcc": "gcc",
    "clang": "clang",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
}


def need(tool: str) -> str:
    """The tool's path; skips the test, with the line that installs it, when it is missing."""
    where = shutil.which(tool)
    if where is None:
        pytest.skip(f"no {tool}: apt-get install -y --no-install-recommends {INSTALL[tool]}")
    return where


def said(*command: object) -> str:
    """What a command complains about; empty when it succeeds."""
    result = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return "" if result.returncode == 0 else (result.stdout + result.stderr)[-8000:] or "failed"


def checker(module: str) -> tuple[str, str, str]:
    pytest.importorskip(module, reason=f"pip install {module}")
    return sys.executable, "-m", module


BOARDS = ROOT / "ext" / "target" / "mps2"


def c_files(place: str = "ext") -> list[Path]:
    """Our C files for a host, without what Cython left beside its sources."""
    others = (ROOT / "ext" / "bms", BOARDS)
    return sorted(p for p in (ROOT / place).rglob("*.c") if p.parent not in others)


def strict_findings(compiler: str, files: list[Path], *options: str) -> str:
    return "".join(
        said(compiler, "-fsyntax-only", *STRICT, *options, *INCLUDE, path) for path in files
    )


def test_ruff_has_nothing_to_say() -> None:
    assert not said(*checker("ruff"), "check", "--no-cache", "--output-format", "concise", ".")


def test_ruff_reads_the_project_settings(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nx = 1  " + "#" * 100 + "\n", "utf-8")
    complaint = said(
        *checker("ruff"), "check", "--no-cache", "--config", ROOT / "pyproject.toml", bad
    )
    assert "F401" in complaint and "E501" in complaint


@pytest.mark.slow("mypy reads the whole package and its dependencies")
def test_mypy_has_nothing_to_say(tmp_path: Path) -> None:
    assert not said(*checker("mypy"), "--cache-dir", tmp_path, "--no-error-summary")


@pytest.mark.slow("mypy starts from nothing")
def test_mypy_is_strict(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f(x):\n    return x\n", "utf-8")
    config = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "cache"]
    assert "no-untyped-def" in said(*checker("mypy"), *config, bad)


@pytest.mark.slow("compiles every C file")
@pytest.mark.parametrize("tool", ["gcc", "clang"])
def test_c_compiles_without_a_warning(tool: str) -> None:
    compiler = need(tool)
    assert c_files()
    assert not strict_findings(compiler, c_files(), "-I" + numpy.get_include())


def test_firmware_compiles_alone_for_a_microcontroller() -> None:
    compiler = need("arm-none-eabi-gcc")
    assert c_files("ext/firmware")
    alone = [*INCLUDE[1:], *CORTEX]  # without ext/: nothing of plant or chips can be reached
    for path in c_files("ext/firmware"):
        assert not said(compiler, "-fsyntax-only", *STRICT, *alone, path)
    for path in BOARDS.glob("*.c"):
        assert not said(compiler, "-fsyntax-only", *STRICT, *INCLUDE, *CORTEX, path)


@pytest.mark.parametrize("tool", ["gcc", "clang"])
@pytest.mark.parametrize(
    "text",
    [
        "float f(double x);\nfloat f(double x) { return x; }\n",
        "double f(float x);\ndouble f(float x) { return x * 2.0; }\n",
        "typedef enum { A, B } e_t;\nint f(e_t e);\n"
        "int f(e_t e) { switch (e) { case A: return 1; default: return 2; } }\n",
        "int f(int n);\nint f(int n) { int a[n]; a[0] = n; return a[0]; }\n",
    ],
    ids=["narrowing", "float promoted", "enumerator missing", "variable length"],
)
def test_the_strict_options_see_what_they_are_for(tool: str, text: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text(text, "utf-8")
    assert "error" in strict_findings(need(tool), [bad])
