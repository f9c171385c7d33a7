"""Hostile files: an error in words, never a crash, never more memory or time than a bound."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from test_recording import World

from bms import replay
from bms.errors import BmsError
from bms.recorder import Recording, Writer, repair
from bms.recorder.tail import tail_of

SECONDS = 10.0  # of one file, whatever it holds; a busy machine included
MEMORY_BYTES = 256 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[bytes, bytes, bytes]:
    """(a closed recording, one that was cut, its tail), with frames and bytes of steps."""
    path, world = tmp_path_factory.mktemp("whole") / "run.arrow", World()
    about = {"replay": {"format": 1, "config": "eJwDAAAAAAE=", "library": None, "start_us": 0}}
    writer = Writer(
        path, world.signals(), about, frames=True, uart=True, inputs=True, batch_ticks=100
    )
    writer.low_level.boot(0, 0, 0, bytes(16))
    for n in range(450):
        writer.low_level.frame(n * 10_000, n % 2, 1, 0x100, 0, bytes([n % 256] * 8))
        writer.low_level.line(n * 10_000, 0, b"abc")
        if writer.low_level.tick(world.step()):
            writer.drain()
    writer.event(1, "trip", "x")
    writer.flush()
    cut, tail = path.read_bytes(), tail_of(path).read_bytes()
    writer.close({"trips": 1})
    return path.read_bytes(), cut, tail


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits flipped, bytes replaced, cut out, put in, or a length made huge."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(made)))
        match int(rng.integers(0, 6)):
            case 0:
                made[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                made[at : at + 8] = rng.bytes(8)
            case 2:
                del made[at : at + int(rng.integers(1, 3000))]
            case 3:
                made[at:at] = rng.bytes(int(rng.integers(1, 3000)))
            case 4:
                made[at : at + 4] = b"\xff\xff\xff\x7f"
            case 5:
                end = max(0, len(made) - int(rng.integers(1, 200)))
                made[end : end + 4] = rng.bytes(4)
    return bytes(made)


def read_everything(path: Path) -> None:
    """All that a reader can do with a file."""
    with Recording.open(path) as rec:
        rec.load(*rec.signals)
        _ = rec.events, rec.summary, rec.frames, rec.uart, rec.span_s
        for name in rec.signals:
            rec.overview(name, 0, 300, 50)
            rec.read([name], 1.0, 2.0)
        for _ in rec.firmware_steps():
            pass


def attack(whole: tuple[bytes, bytes, bytes], folder: Path, seed: int, count: int) -> None:
    rng, refused = np.random.default_rng(seed), 0
    path = folder / "run.arrow"
    closed, cut, tail = whole
    for k in range(count):
        began = time.process_time()
        path.write_bytes(changed(closed if k % 2 else cut, rng) if k % 4 < 3 else cut)
        tail_of(path).write_bytes(changed(tail, rng))
        for work in (read_everything, repair, read_everything, lambda p: replay.check(open_(p))):
            try:
                work(path)
            except BmsError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 600
        assert time.process_time() - began < SECONDS
    assert refused > count // 4


def open_(path: Path) -> Recording:
    return Recording.open(path)


def bounded(work, *arguments) -> None:
    """With no more memory than we have now and MEMORY_BYTES."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, before[1]))
    try:
        work(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.slow("each file is read, repaired, read and replayed")
def test_100_changed_files_are_read_or_refused_in_words(whole, tmp_path, seed):
    bounded(attack, whole, tmp_path, seed, 100)


@pytest.mark.long("ten thousand files")
def test_10_000_changed_files_are_read_or_refused_in_words(whole, tmp_path, seed):
    bounded(attack, whole, tmp_path, seed, 10_000)


def test_the_unchanged_files_are_read(whole, tmp_path):
    """The attack above must not fail for another reason."""
    closed, cut, tail = whole
    path = tmp_path / "run.arrow"
    path.write_bytes(closed)
    read_everything(path)
    path.write_bytes(cut)
    tail_of(path).write_bytes(tail)
    read_everything(path)
    with Recording.open(path) as rec:
        assert rec.t_ns.size == 450 and [e.name for e in rec.events] == ["x"]
