"""The same bits everywhere: two runs, snapshots, compilers, optimisation levels and processor
features end in the same hashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bms.sim import Simulation

ROOT = Path(__file__).resolve().parents[2]
STRICT = [
    "-std=c99",
    "-D_DEFAULT_SOURCE",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-funsigned-char",
]
INCLUDES = [f"-I{ROOT}/ext{part}" for part in ("", "/common", "/firmware", "/firmware/generated")]
SOURCES = [
    str(p)
    for folder in ("plant", "chips", "canbus", "firmware", "firmware/generated", "loop", "recorder")
    for p in sorted((ROOT / "ext" / folder).glob("*.c"))
]


def hashes(simulation: Simulation) -> tuple[str, str]:
    loop = simulation.world.parts["loop"]
    return f"{int(loop['trace_hash'][0]):016x}", f"{simulation.world.truth_hash_now():016x}"


def driving(seed: int = 3) -> Simulation:
    """A simulation some way into a drive, with contactors closed and current flowing."""
    simulation = Simulation("drive", pack="bench_16s1p", seed=seed)
    simulation.run(20.0, record=False)
    assert int(simulation.world.parts["plant"]["contactor_closed"][0]) == 3
    return simulation


def test_two_runs_end_in_the_same_hashes() -> None:
    first, second = driving(), driving()
    assert hashes(first) == hashes(second)


def test_another_seed_ends_in_other_hashes() -> None:
    assert hashes(driving(3)) != hashes(driving(4))


def test_recording_changes_no_bit() -> None:
    plain, recorded = Simulation("drive", seed=5), Simulation("drive", seed=5)
    plain.run(15.0, record=False)
    recorded.run(15.0, record=True, frames=True)
    assert hashes(plain) == hashes(recorded)


def test_a_restored_snapshot_continues_to_the_same_hashes() -> None:
    simulation = driving()
    snapshot = simulation.snapshot()
    simulation.run(10.0, record=False)
    straight = hashes(simulation)
    simulation.run(5.0, record=False)
    simulation.restore(snapshot)
    simulation.run(10.0, record=False)
    assert hashes(simulation) == straight


def test_a_snapshot_continues_in_another_simulation_object() -> None:
    simulation, other = driving(), Simulation("drive", pack="bench_16s1p", seed=99)
    snapshot = simulation.snapshot()
    other.restore(snapshot)
    simulation.run(10.0, record=False)
    other.run(10.0, record=False)
    assert hashes(simulation) == hashes(other)


def test_probing_the_firmware_changes_no_bit() -> None:
    watched, alone = driving(), driving()
    for _ in range(50):
        bytes(watched.world.firmware_bytes)
        watched.run(0.1, record=False)
    alone.run(5.0, record=False)
    assert hashes(watched) == hashes(alone)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, str]]:
    """A snapshot on disk, and the hashes that the Python build reaches from it after 5 s."""
    simulation = driving()
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "arena").write_bytes(simulation.snapshot().arena)
    (folder / "config").write_bytes(simulation.config)
    (folder / "profile").write_bytes(
        simulation.plan.phases[simulation.position.phase].values.tobytes()
    )
    simulation.run(5.0, record=False)
    return folder, hashes(simulation)


BUILDS = [
    ("gcc", ["-O0"]),
    ("gcc", ["-O2", "-DBMS_NO_CLONES"]),
    ("gcc", ["-O3", "-march=native"]),
    ("clang", ["-O1"]),
    ("clang", ["-O3", "-march=native"]),
]


@pytest.mark.slow("compiles the whole loop once more for each compiler")
@pytest.mark.parametrize(
    ("compiler", "flags"), BUILDS, ids=lambda x: x if isinstance(x, str) else "".join(x)
)
def test_every_compiler_and_level_gives_the_same_bits(
    frozen: tuple[Path, tuple[str, str]], tmp_path: Path, compiler: str, flags: list[str]
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed (apt-get install {compiler})")
    folder, expected = frozen
    program = tmp_path / "loop_main"
    subprocess.run(
        [
            compiler,
            *STRICT,
            *flags,
            *INCLUDES,
            str(ROOT / "tests/c/loop_main.c"),
            *SOURCES,
            "-o",
            str(program),
        ],
        check=True,
    )
    command = [
        str(program),
        *(str(folder / part) for part in ("arena", "config", "profile")),
        "5000",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert tuple(result.stdout.split()) == expected


SCRIPT = """
from bms.sim import Simulation
s = Simulation("drive", pack="bench_16s1p", seed=3)
s.run(25.0, record=False)
print(f"{int(s.world.parts['loop']['trace_hash'][0]):016x}", f"{s.world.truth_hash_now():016x}")
"""

MASKS = {
    "baseline instructions": {"BMS_ISA": "baseline"},
    "libc without AVX": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-AVX512F,-ERMS,-BMI2"},
    "numpy without AVX": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
}


def run_masked(extra: dict[str, str]) -> str:
    environment = {**os.environ, **extra}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def unmasked() -> str:
    return run_masked({})


@pytest.mark.parametrize("mask", MASKS)
def test_processor_features_change_no_bit(unmasked: str, mask: str) -> None:
    if "numpy" in mask:
        import numpy

        features = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
        known = [f for f in MASKS[mask]["NPY_DISABLE_CPU_FEATURES"].split() if f in features]
        extra = {"NPY_DISABLE_CPU_FEATURES": " ".join(known)}
    else:
        extra = MASKS[mask]
    assert run_masked(extra) == unmasked
