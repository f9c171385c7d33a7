"""Hostile frames, messages and bytes into a firmware that runs: it counts, and does nothing else.

Judged in firmware_bytes.c by two copies of the firmware beside each other, one of which hears.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FLAGS = [
    "-std=c99", "-O1", "-g", "-funsigned-char", "-DBMS_NO_CLONES", "-fno-sanitize-recover=all",
]  # fmt: skip
SANITIZERS = "-fsanitize=address,undefined"


@pytest.fixture(scope="module")
def snapshots(project_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The firmware in standby and in normal operation."""
    sys.path.insert(0, str(project_dir / "tests/unit/firmware"))
    from firmware_rig import DRIVE, STATE, Rig

    folder = tmp_path_factory.mktemp("snapshots")
    made = {name: folder / name for name in ("standby", "drive")}
    rig = Rig()
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    made["standby"].write_bytes(rig.run(500).firmware.snapshot())
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 5000)
    made["drive"].write_bytes(rig.run(1500).firmware.snapshot())
    return made


def build(
    project_dir: Path, out: Path, *more: str, compiler: str = "gcc", wrong: tuple[str, ...] = ()
) -> Path:
    """The program, with a line of the firmware made wrong if told: file, text, other text."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}: make test-tools")
    ext = project_dir / "ext"
    sources = [*(ext / "firmware").glob("*.c"), *(ext / "firmware/generated").glob("*.c")]
    if wrong:
        name, right, other = wrong
        text = (ext / "firmware" / name).read_text()
        assert text.count(right) == 1
        changed = out.with_name(name)
        changed.write_text(text.replace(right, other))
        sources = [changed if source.name == name else source for source in sources]
    includes = [f"-I{ext / place}" for place in (".", "common", "firmware", "firmware/generated")]
    done = subprocess.run(
        [
            compiler, *FLAGS, *more, *includes, str(project_dir / "tests/c/firmware_bytes.c"),
            *map(str, sources), "-o", str(out),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    if "cannot find" in done.stderr and re.search("asan|fuzzer", done.stderr):
        pytest.skip(f"no sanitizers for {compiler}: make test-tools")
    assert done.returncode == 0, done.stderr
    return out


def run(words: list[object], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", **variables}
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env=environment, timeout=280
    )


def check(done: subprocess.CompletedProcess[str], count: int) -> None:
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    inputs, steps, requests, refused, malformed, line = map(int, re.findall(r"\d+", done.stdout))
    assert inputs == count and steps > 0.8 * count
    assert requests > count / 20 and refused > requests / 2 and requests > refused
    assert malformed > count / 10 and line > count / 2


@pytest.mark.slow("compiles the firmware with sanitizers")
def test_hostile_input_is_counted_and_changes_nothing(
    project_dir: Path, tmp_path: Path, snapshots: dict[str, Path], seed: int
) -> None:
    program = build(project_dir, tmp_path / "bytes", SANITIZERS)
    for snapshot in snapshots.values():
        check(run([program, snapshot, 300_000, seed]), 300_000)


@pytest.mark.long("twelve million inputs")
def test_twelve_million_hostile_inputs_change_nothing(
    project_dir: Path, tmp_path: Path, snapshots: dict[str, Path], seed: int
) -> None:
    program = build(project_dir, tmp_path / "bytes", SANITIZERS)
    for snapshot in snapshots.values():
        check(run([program, snapshot, 6_000_000, seed]), 6_000_000)


@pytest.mark.long("a coverage-guided fuzzer")
@pytest.mark.parametrize("state", ["standby", "drive"])
def test_inputs_guided_by_coverage_change_nothing(
    project_dir: Path, tmp_path: Path, snapshots: dict[str, Path], seed: int, state: str
) -> None:
    program = build(
        project_dir, tmp_path / "bytes", "-DFUZZER", "-fsanitize=fuzzer", SANITIZERS,
        compiler="clang",
    )  # fmt: skip
    options = ["-runs=500000", "-max_len=440", f"-seed={seed + 1}"]
    done = run([program, *options], BMS_SNAPSHOT=str(snapshots[state]))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "DONE" in done.stderr


PLANTED = {
    "a request with a wrong code counts": (
        "canin.c", "if (!e2e_is_usable(status)) {", "if (status == E2E_WRONG_SEQUENCE) {",
    ),
    "a write needs no key": (
        "uds_data.c", "if (self->uds.unlocked == 0u) return SECURITY;", "",
    ),
    "a message may be longer than its buffer": (
        "isotp.c", "if (is_long || wanted > ISOTP_RX_MAX) {", "if (is_long) {",
    ),
}  # fmt: skip


@pytest.mark.long("compiles the firmware with sanitizers, three times")
@pytest.mark.parametrize("name", PLANTED)
def test_it_finds_a_planted_error(
    project_dir: Path, tmp_path: Path, snapshots: dict[str, Path], name: str
) -> None:
    program = build(project_dir, tmp_path / "bytes", SANITIZERS, wrong=PLANTED[name])
    done = run([program, snapshots["standby"], 1_000_000, 1])
    assert done.returncode != 0, name
