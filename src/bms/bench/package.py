"""A published package's textbook filter, timed by a Python that has it: this one, or another.

The package lives best in a venv of its own: `python -m venv peer && peer/bin/pip install filterpy`,
then `bms bench estimator --peer-python peer/bin/python`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

from bms import cells
from bms.bench.filters import Tables
from bms.bench.peers import PEERS
from bms.errors import ConfigError

PACKAGES = ("filterpy", "bayesian_filters")
INSTALL = PEERS["filterpy"].install

FIND = """
import importlib.util, sys
print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""

SCRIPT = """
import importlib, json, sys, time
import numpy as np
given = json.load(sys.stdin)
kalman = importlib.import_module(given["module"] + ".kalman")
grid, ocv = np.array(given["grid"]), np.array(given["ocv"])
made = kalman.ExtendedKalmanFilter(dim_x=3, dim_z=1, dim_u=1)
made.x = np.array([[0.5], [0.0], [0.0]])
made.P, made.Q = np.diag([1e-2, 1e-4, 1e-4]), np.diag([1e-10, 1e-8, 1e-8])
made.R, made.F = np.array([[1e-4]]), np.diag([1.0, 0.4, 0.998])
made.B = np.array([[-0.1 / given["capacity_as"]], [1.3e-4], [4e-7]])

def slope(x):
    z = float(x[0, 0])
    rise = np.interp(z + 0.005, grid, ocv) - np.interp(z - 0.005, grid, ocv)
    return np.array([[rise * 100.0, -1.0, -1.0]])

def voltage(x, amps):
    level = np.interp(float(x[0, 0]), grid, ocv) - float(x[1, 0]) - float(x[2, 0])
    return np.array([[level - 7e-4 * amps]])

def run(count):
    for k in range(count):
        amps = 40.0 if k // 10 % 2 else -30.0
        made.predict(u=np.array([[amps]]))
        made.update(np.array([[3.80]]), slope, voltage, hx_args=(amps,))

run(100)
began = time.perf_counter()
run(given["updates"])
print((time.perf_counter() - began) * 1e9 / given["updates"])
"""


@cache
def found(python: str | None) -> tuple[str, str] | None:
    """(Python, package) that can be timed: in `python`, else in this one; None: in neither.

    ConfigError when `python` was named and does not run, or has no such package.
    """
    command = [python or sys.executable, "-c", FIND, *PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        expected = f"a Python that runs ({type(error).__name__})"
        raise ConfigError("option", "--peer-python", python, expected) from None
    names = done.stdout.split()
    if python and not names:
        expected = f"a Python with {' or '.join(PACKAGES)}: {INSTALL}"
        raise ConfigError("option", "--peer-python", python, expected)
    return (command[0], names[0]) if names else None


def update_ns(python: str, module: str, cell_name: str, updates: int) -> float:
    """Nanoseconds of one update of one cell in that Python."""
    tables = Tables(cells.load(cell_name))
    given: dict[str, Any] = {
        "module": module,
        "grid": tables.grid.tolist(),
        "ocv": tables.values["ocv_v"].tolist(),
        "capacity_as": tables.capacity_as,
        "updates": updates,
    }
    done = subprocess.run(
        [python, "-c", SCRIPT], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return float(done.stdout)
