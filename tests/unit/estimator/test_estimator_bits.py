"""One source, one result: whatever instruction set the compiler was allowed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bms
from bms import _estimator
from bms.estimator import Estimator

ROOT = Path(bms.__file__).resolve().parents[2]

RUN = "from test_estimator_bits import digest; print(digest())"
FLAGS = ["-std=c99", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def drive() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Current (n,), voltages and temperatures (n, 100) of 400 steps."""
    draw, n = np.random.default_rng(5), 400
    amps = np.repeat(draw.normal(10.0, 80.0, n // 8), 8)
    volts = 3.8 - 0.001 * amps[:, None] + draw.normal(0.0, 0.01, (n, 100))
    warm = draw.uniform(-20.0, 60.0, (1, 100)).repeat(n, axis=0)
    return amps, volts, warm


def digest() -> str:
    """Hash over all results of a drive of 100 cells."""
    amps, volts, warm = drive()
    found = Estimator("sulfide_nmc811_77ah", 100).run(np.arange(len(amps)), amps, volts, warm)
    parts = (found.soc_frac, found.soc_std_frac, found.temperature_core_degc, found.r0_ohm)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def other_process() -> str:
    path = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_another_process_gives_the_same_bits() -> None:
    assert other_process() == digest()


BUILDS = {  # options of the compiler, and the flag of the processor that they need
    "baseline": ("-DBMS_NO_CLONES", ""),
    "AVX2": ("-DBMS_NO_CLONES -march=x86-64-v3", "avx2"),
    "AVX-512": ("-DBMS_NO_CLONES -march=x86-64-v4", "avx512vl"),
}


def processor_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    text = path.read_text("utf-8") if path.is_file() else ""
    return {word for line in text.splitlines() if line.startswith("flags") for word in line.split()}


class Set(ctypes.Structure):
    """batch_set_t of ext/batch/batch.h."""

    _fields_ = (("est", ctypes.c_void_p), ("obs", ctypes.c_void_p), ("own", ctypes.c_void_p))


class Io(ctypes.Structure):
    """batch_io_t."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("dt_s", "current_a", "pressure_kpa", "sink_degc")),
        *((name, ctypes.c_void_p) for name in ("voltage_v", "temperature_degc", "soc0_frac")),
        ("temperature_stride", ctypes.c_size_t),
        ("into_same", ctypes.c_bool),
        ("result", ctypes.c_void_p * 8),
    )


class Kind(ctypes.Structure):
    """batch_kind_t."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("cells_max", ctypes.c_uint32),
        ("init", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)),
        ("step", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)),
        ("covariance", ctypes.c_void_p),
    )


def stepped(library: Path) -> str:
    """Hash over all results of 400 steps of 100 cells by the C code of this library."""
    kind = Kind.in_dll(ctypes.CDLL(str(library)), "batch_string")
    named = Estimator("sulfide_nmc811_77ah", 100)._strings
    own = (next(iter(part.values())).base for part in (named.est, named.obs, named.params))
    given = Set(*(part.ctypes.data for part in own))
    state, soc0 = np.zeros(kind.size + 64, np.uint8), np.full(100, np.nan)
    at = (state.ctypes.data + 63) // 64 * 64
    results, (amps, volts, warm) = np.zeros((8, 100), np.float32), drive()
    kind.init(at, ctypes.addressof(given), 100)
    told = hashlib.sha256()
    for k, current in enumerate(amps):
        io = Io(1.0, current, np.nan, np.nan, volts[k].ctypes.data, warm[k].ctypes.data)
        io.soc0_frac, io.temperature_stride = soc0.ctypes.data, 1
        io.result[:] = [row.ctypes.data for row in results]
        kind.step(at, ctypes.addressof(given), ctypes.addressof(io))
        told.update(results.tobytes())
    return told.hexdigest()


@pytest.mark.slow(reason="compiles the estimator once for each instruction set")
def test_each_instruction_set_gives_the_same_bits(tmp_path: Path) -> None:
    """The choice at run time is the processor's own, so each copy is built alone and compared."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("needs the source tree")
    if platform.machine() != "x86_64" or shutil.which("gcc") is None:
        pytest.skip("needs gcc on x86-64")
    found = {}
    for name, (flags, needed) in BUILDS.items():
        if needed and needed not in processor_flags():
            continue
        library = tmp_path / f"{name}.so"
        folders = [f"-I{ROOT / 'ext' / part}" for part in ("", "common", "firmware")]
        command = ["gcc", *FLAGS, *flags.split(), *folders, "-shared", "-fPIC", "-o", str(library)]
        subprocess.run([*command, str(ROOT / "ext/batch/string.c")], check=True)
        found[name] = stepped(library)
    assert "baseline" in found
    assert len(set(found.values())) == 1, found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
def test_the_shipped_module_holds_a_copy_for_each_instruction_set() -> None:
    built = Path(_estimator.__file__).read_bytes()
    if b"GCC: (" not in built:
        pytest.skip("only gcc links copies that are chosen at run time")
    assert b"update_blocks.arch_x86_64_v4" in built and b"update_blocks.arch_x86_64_v3" in built
