"""One source, one result: whatever instruction set the compiler was allowed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bms
from bms import _estimator
from bms.estimator import Estimator

ROOT = Path(bms.__file__).resolve().parents[2]

RUN = """
import hashlib, importlib.machinery, importlib.util, sys
import bms
if len(sys.argv) > 1:
    loader = importlib.machinery.ExtensionFileLoader("bms._estimator", sys.argv[1])
    spec = importlib.util.spec_from_loader("bms._estimator", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["bms._estimator"] = bms._estimator = module
from test_estimator_bits import digest
print(digest())
"""


def digest() -> str:
    """Hash over all results of a drive of 100 cells."""
    draw, n = np.random.default_rng(5), 400
    amps = np.repeat(draw.normal(10.0, 80.0, n // 8), 8)
    volts = 3.8 - 0.001 * amps[:, None] + draw.normal(0.0, 0.01, (n, 100))
    warm = draw.uniform(-20.0, 60.0, (1, 100)).repeat(n, axis=0)
    found = Estimator("sulfide_nmc811_77ah", 100).run(np.arange(n), amps, volts, warm)
    parts = (found.soc_frac, found.soc_std_frac, found.temperature_core_degc, found.r0_ohm)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def other_process(*arguments: str, **environment: str) -> str:
    path = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_another_process_gives_the_same_bits() -> None:
    assert other_process() == digest()


def test_a_processor_without_avx2_gives_the_same_bits() -> None:
    """The loader is told to hide AVX2, so the baseline clones are chosen."""
    hidden = other_process(GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-BMI2")
    assert hidden == digest()


@pytest.mark.slow(reason="compiles the module once more, for the baseline only")
def test_a_build_for_the_baseline_alone_gives_the_same_bits(tmp_path: Path) -> None:
    if not (ROOT / "setup.py").is_file():
        pytest.skip("needs the source tree")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path / "lib")]
    command += ["--build-temp", str(tmp_path / "temp")]
    flags = {"BMS_ONLY": "_estimator", "BMS_CFLAGS": "-DBMS_NO_CLONES"}
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | flags, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = next((tmp_path / "lib").rglob("_estimator*.so"))
    assert b"arch_x86_64_v3" not in built.read_bytes()
    assert other_process(str(built)) == digest()
    assert _estimator.TILE % 8 == 0
