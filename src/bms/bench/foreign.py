"""Estimators of other people: a Python class or a shared library, scored on the same readings.

A class has
    start(cell, n_cells)
    step(dt_s, current_a, voltage_v, temperature_degc, pressure_kpa) -> soc (n_cells,)
with voltage and temperature of shape (n_cells,), pressure a number or None, current positive on
discharge; NaN is no reading. An attribute `soc0`, where the class has one, is set after start to
the charge that estimators are told (n_cells,), or None. A shared library has the functions of
examples/own_estimator/estimator_plugin.h. Whatever goes wrong in either is one ConfigError that
names it; a library that crashes takes the process with it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bms.bench.records import Case
from bms.errors import ConfigError
from bms.model import Cell

Floats = NDArray[np.float64]

LIBRARY_ABI = 1
SUFFIXES = (".so", ".dylib", ".dll")
_DOUBLES = ctypes.POINTER(ctypes.c_double)


class _Cell(ctypes.Structure):
    """bms_estimator_cell_t of estimator_plugin.h."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("n_cells", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("capacity_ah", ctypes.c_double),
        ("r0_ohm", ctypes.c_double),
        ("r1_ohm", ctypes.c_double),
        ("tau1_s", ctypes.c_double),
        ("r2_ohm", ctypes.c_double),
        ("tau2_s", ctypes.c_double),
        ("ocv_points", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("ocv_soc_frac", _DOUBLES),
        ("ocv_v", _DOUBLES),
        ("soc0_frac", _DOUBLES),
    )


def _doubles(array: Floats) -> Any:
    return array.ctypes.data_as(_DOUBLES)


class Library:
    """A shared library with the interface of the class. Not to be shared between threads."""

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path.resolve()))
        except OSError as error:
            raise _wrong(str(path), f"a shared library that loads ({error})") from None
        for name in ("abi", "start", "step", "stop"):
            if not hasattr(self._library, f"bms_estimator_{name}"):
                raise _wrong(str(path), f"a library that exports bms_estimator_{name}")
        self._library.bms_estimator_abi.restype = ctypes.c_uint32
        abi = self._library.bms_estimator_abi()
        if abi != LIBRARY_ABI:
            raise _wrong(str(path), f"bms_estimator_abi() to be {LIBRARY_ABI}, not {abi}")
        self._library.bms_estimator_start.restype = ctypes.c_void_p
        self._library.bms_estimator_start.argtypes = [ctypes.POINTER(_Cell)]
        self._library.bms_estimator_stop.argtypes = [ctypes.c_void_p]
        self._library.bms_estimator_stop.restype = None
        self._library.bms_estimator_step.restype = ctypes.c_int
        self._library.bms_estimator_step.argtypes = [
            ctypes.c_void_p, ctypes.c_double, ctypes.c_double, _DOUBLES, _DOUBLES, ctypes.c_double,
            _DOUBLES,
        ]  # fmt: skip
        self._state: int | None = None
        self.soc0: Floats | None = None

    def start(self, cell: Cell, n_cells: int) -> None:
        """The library itself is started by the first step: it is told `soc0` with the cell."""
        self.close()
        self._cell, self._n = cell, n_cells

    def step(
        self, dt_s: float, current_a: float, voltage_v: Floats, temperature_degc: Floats,
        pressure_kpa: float | None,
    ) -> Floats:  # fmt: skip
        """Charge after these readings, (n_cells,)."""
        if self._state is None:
            self._begin()
        volts, warm = (np.ascontiguousarray(x, np.float64) for x in (voltage_v, temperature_degc))
        out = np.full(self._n, np.nan)
        pressure = np.nan if pressure_kpa is None else pressure_kpa
        failed = self._library.bms_estimator_step(
            self._state, dt_s, current_a, _doubles(volts), _doubles(warm), pressure, _doubles(out)
        )
        if failed:
            raise RuntimeError(f"bms_estimator_step returned {failed}")
        return out

    def _begin(self) -> None:
        made, electric = self._cell.resistance, self._cell.electric
        grid = np.array(electric.ocv_soc_frac, np.float64)
        volts = np.array(electric.ocv_v, np.float64)
        told = None
        if self.soc0 is not None:
            told = np.ascontiguousarray(np.broadcast_to(self.soc0, self._n), np.float64)
        cell = _Cell(
            ctypes.sizeof(_Cell), self._n, self._cell.name.encode(), electric.capacity_ah,
            made.electrolyte_ohm + made.contact_ohm, made.charge_transfer_ohm,
            made.charge_transfer_tau_s, made.diffusion_ohm, made.diffusion_tau_s, len(grid), 0,
            _doubles(grid), _doubles(volts), None if told is None else _doubles(told),
        )  # fmt: skip
        self._state = self._library.bms_estimator_start(ctypes.byref(cell))
        if not self._state:
            raise RuntimeError("bms_estimator_start returned NULL")

    def close(self) -> None:
        """Give the library its state back."""
        if self._state:
            self._library.bms_estimator_stop(self._state)
        self._state = None


def _wrong(text: str, expected: str) -> ConfigError:
    return ConfigError("option", "--estimator", text, expected)


def load(text: str) -> Callable[[], Any]:
    """What makes an estimator: `package.module:Class`, found from the current folder too, or the
    path of a shared library. ConfigError when there is none.
    """
    if text.endswith(SUFFIXES):
        path = Path(text)
        if not path.is_file():
            raise _wrong(text, "the path of a shared library that exists")
        Library(path)
        return lambda: Library(path)
    module, _, name = text.partition(":")
    if not module or not name:
        raise _wrong(text, "MODULE:CLASS, or the path of a shared library")
    sys.path.insert(0, os.getcwd())
    try:
        kind = getattr(importlib.import_module(module), name)
    except Exception as error:
        expected = f"MODULE:CLASS that can be imported ({type(error).__name__}: {error})"
        raise _wrong(text, expected) from None
    finally:
        sys.path.remove(os.getcwd())
    for needed in ("start", "step"):
        if not callable(getattr(kind, needed, None)):
            raise _wrong(text, f"a class with start and step; it has no {needed}")
    return _guarded_kind(kind, text)


def _guarded_kind(kind: Any, text: str) -> Callable[[], Any]:
    def make() -> Any:
        return guarded(text, "the constructor", kind)

    return make


def guarded(text: str, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call into somebody's code; whatever it raises is one ConfigError that says what and where."""
    try:
        return call(*arguments)
    except ConfigError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        expected = f"{what} to succeed; it raised {type(error).__name__}: {error} ({place})"
        raise _wrong(text, expected) from None


def replay(made: Any, case: Case, text: str = "") -> Floats:
    """State of charge by an estimator of the stepwise interface, (n, cells). ConfigError, with
    `text` as the estimator's name, for what it does wrong.
    """
    name = text or type(made).__name__
    volts = case.voltage_v.reshape(len(case.time_s), -1)
    warm = case.temperature_degc.reshape(len(case.time_s), -1)
    n_cells = volts.shape[1]
    guarded(name, "start", made.start, case.cell, n_cells)
    if hasattr(made, "soc0"):
        made.soc0 = case.soc0_frac
    steps = np.diff(case.time_s, prepend=case.time_s[0])
    out = np.empty(volts.shape)
    for k, dt_s in enumerate(steps):
        pressure = None if case.pressure_kpa is None else float(case.pressure_kpa[k])
        readings = (float(dt_s), float(case.current_a[k]), volts[k].copy(), warm[k].copy())
        found = guarded(name, f"step {k}", made.step, *readings, pressure)
        out[k] = _checked(name, k, found, n_cells)
    return out


def _checked(name: str, k: int, found: Any, n_cells: int) -> Floats:
    """One result: n_cells finite numbers."""
    try:
        soc = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        raise _wrong(name, f"step {k} to return numbers, not {type(found).__name__}") from None
    if soc.shape not in ((n_cells,), () if n_cells == 1 else (n_cells,)):
        expected = f"step {k} to return an array of shape ({n_cells},), not {soc.shape}"
        raise _wrong(name, expected)
    if not np.isfinite(soc).all():
        cell = int(np.argmin(np.isfinite(np.atleast_1d(soc))))
        raise _wrong(name, f"step {k} to return finite charge; that of cell {cell} is not")
    return soc
