"""Rows of `bms bench estimator` that stand for themselves: the microcontroller, the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bms.bench import estimator, mcu, package
from bms.errors import ConfigError

CELL = estimator.CELL


def test_instructions_are_counted_on_arm_code_and_the_same_each_time() -> None:
    why = mcu.missing()
    if why:
        pytest.skip(why)
    found = mcu.counted(CELL)
    assert found == mcu.counted(CELL)
    assert 200 < found["instructions_per_cell_update"] < 620  # 96 cells: 60 000 a step
    assert found["state_bytes_per_cell"] < 128
    assert set(found) == set(mcu.NAMES)


def test_rows_of_the_microcontroller_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcu.shutil, "which", lambda name: None)
    rows = {row.name: row for row in mcu.arm_rows(CELL)}
    assert rows["instructions_per_cell_update"].ours is None
    assert "install" in (rows["state_bytes_per_cell"].limit_source or "")


def test_a_package_that_is_not_there_is_a_row_that_says_how_to_get_it() -> None:
    row = estimator.package_row({"ours 1": 500.0}, None)
    assert row.peer is None
    assert "not installed: pip install filterpy" in (row.peer_name or "")


@pytest.mark.parametrize("python", ["/no/such/python", sys.executable])
def test_another_python_without_the_package_is_refused(python: str) -> None:
    if python == sys.executable and package.found(None):
        pytest.skip("the package is installed here")
    with pytest.raises(ConfigError, match="--peer-python"):
        package.found(python)


def test_the_package_is_timed_by_another_python(tmp_path: Path) -> None:
    """A stand-in with the interface of the package: no figure of its own, but the way there."""
    folder = tmp_path / "filterpy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "kalman.py").write_text(
        "class ExtendedKalmanFilter:\n"
        "    def __init__(self, **sizes): self.calls = 0\n"
        "    def predict(self, u): assert u.shape == (1, 1)\n"
        "    def update(self, z, slope, voltage, hx_args):\n"
        "        assert slope(self.x).shape == (1, 3) and 3 < voltage(self.x, *hx_args)[0, 0] < 5\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    found = package.found(str(python))
    assert found == (str(python), "filterpy")
    assert package.update_ns(*found, CELL, 50) > 0.0
