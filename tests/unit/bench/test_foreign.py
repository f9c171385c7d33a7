"""Estimators of other people: found, checked, scored; what they do wrong is one sentence."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import bms
from bms import cells
from bms.bench import foreign
from bms.bench.records import Case
from bms.errors import ConfigError

ROOT = Path(bms.__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/own_estimator"
N, CELLS = 50, 3


def case() -> Case:
    """Constant current out of three cells, one reading missing."""
    cell = cells.load("sulfide_nmc811_77ah")
    time = np.arange(N, dtype=np.float64)
    soc = 0.6 - time[:, None] * 77.0 / (77.0 * 3600.0) + np.zeros(CELLS)
    volts = np.interp(soc, cell.electric.ocv_soc_frac, cell.electric.ocv_v)
    volts[10, 1] = np.nan
    return Case(
        set="made", name="up", cell=cell, time_s=time, current_a=np.full(N, 77.0),
        voltage_v=volts, temperature_degc=np.full((N, CELLS), 25.0), pressure_kpa=None,
        soc_frac=soc, core_degc=None, soc0_frac=np.full(CELLS, 0.6),
    )  # fmt: skip


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> str:
    """The option for a class in a module of the current folder."""
    (folder / f"{name}.py").write_text(body, "utf-8")
    monkeypatch.chdir(folder)
    return f"{name}:Mine"


def refusal(text: str) -> str:
    """What is said about this estimator."""
    with pytest.raises(ConfigError) as caught:
        foreign.replay(foreign.load(text)(), case(), text)
    assert caught.value.exit_code == 2
    assert text in str(caught.value)
    return str(caught.value)


STEP = """
class Mine:
    def start(self, cell, n_cells):
        self.n = n_cells
    def step(self, dt_s, current_a, voltage_v, temperature_degc, pressure_kpa):
        {}
"""


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("fm_none", "class Mine:\n    def start(self, cell, n_cells): pass\n", "has no step"),
        ("fm_shape", STEP.format("return [0.5] * 7"), "step 0 to return an array of shape (3,)"),
        ("fm_text", STEP.format("return 'half'"), "to return numbers, not str"),
        ("fm_nan", STEP.format("return voltage_v * 0.1"), "step 10 to return finite charge"),
        ("fm_raise", STEP.format("return 1 / 0"), "ZeroDivisionError: division by zero"),
        ("fm_syntax", "class Mine(:\n", "SyntaxError"),
    ],
)
def test_what_an_estimator_does_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str, said: str
) -> None:
    assert said in refusal(written(tmp_path, monkeypatch, name, body))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere", "MODULE:CLASS"),
        ("no_such_module_here:Mine", "ModuleNotFoundError"),
        ("./no_such_library.so", "that exists"),
    ],
)
def test_what_cannot_be_found_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        foreign.load(text)


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="needs the source tree")
def test_the_example_class_follows_the_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    made = foreign.load("mine:Mine")()
    assert np.abs(foreign.replay(made, case()) - case().soc_frac).max() < 1e-3


def built(folder: Path, source: Path, name: str) -> Path:
    """A shared library from one C file."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    library = folder / f"{name}.so"
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{EXAMPLE}"]
    subprocess.run([*command, "-o", str(library), str(source)], check=True)
    return library


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="needs the source tree")
def test_the_example_library_gives_what_the_example_class_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = built(tmp_path, EXAMPLE / "mine.c", "libmine")
    monkeypatch.chdir(EXAMPLE)
    in_c = foreign.replay(foreign.load(str(library))(), case())
    in_python = foreign.replay(foreign.load("mine:Mine")(), case())
    assert np.allclose(in_c, in_python, rtol=0.0, atol=1e-12)


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="needs the source tree")
def test_a_library_that_lacks_a_function_or_fails_is_named(tmp_path: Path) -> None:
    lacking = tmp_path / "lacking.c"
    lacking.write_text(
        "unsigned bms_estimator_abi(void); unsigned bms_estimator_abi(void) {return 1;}"
    )
    with pytest.raises(ConfigError, match="exports bms_estimator_start"):
        foreign.load(str(built(tmp_path, lacking, "lacking")))
    text = (EXAMPLE / "mine.c").read_text("utf-8")
    failing = tmp_path / "failing.c"
    failing.write_text(text.replace("    return 0;\n}", "    return 3;\n}"), "utf-8")
    assert "bms_estimator_step returned 3" in refusal(str(built(tmp_path, failing, "failing")))
    junk = tmp_path / "junk.so"
    junk.write_bytes(b"not a library")
    with pytest.raises(ConfigError, match="that loads"):
        foreign.load(str(junk))
