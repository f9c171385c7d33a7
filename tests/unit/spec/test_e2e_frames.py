"""End-to-end protection: published vectors, an independent implementation, our C twin, and the
receiver's verdicts.
"""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from bms.protocols import e2e
from bms.protocols.e2e import Receiver, Sender, Status

PROTECT = {"P01": e2e.p01_protect, "P05": e2e.p05_protect}


@pytest.mark.parametrize("vector", e2e.VECTORS)
def test_vectors(vector: e2e.Known) -> None:
    assert PROTECT[vector.profile](vector.frame, vector.data_id, vector.counter) == vector.frame
    assert Receiver(vector.data_id, vector.profile).check(vector.frame) is Status.INITIAL


def test_check_values_of_the_codes() -> None:
    assert e2e.crc8_j1850(b"123456789") == 0x4B
    assert e2e.crc16_ccitt_false(b"123456789") == 0x29B1


def test_frames_agree_with_the_autosar_e2e_package(seed: int) -> None:
    p01 = pytest.importorskip("e2e.p01")
    p05 = pytest.importorskip("e2e.p05")
    chance = random.Random(seed)
    for _ in range(300):
        data = chance.randbytes(chance.randint(3, 64))
        data_id = chance.randrange(1 << 16)
        counter = chance.randrange(15)
        theirs = bytearray(data)
        theirs[1] = theirs[1] & 0xF0 | counter
        p01.e2e_p01_protect(theirs, data_id, increment_counter=False)
        assert e2e.p01_protect(data, data_id, counter) == bytes(theirs)
        theirs = bytearray(data)
        theirs[2] = counter
        p05.e2e_p05_protect(theirs, data_id, increment_counter=False)
        assert e2e.p05_protect(data, data_id, counter) == bytes(theirs)


@pytest.mark.parametrize("profile", e2e.PROFILES)
def test_every_single_bit_error_and_every_other_data_id_is_found(profile: str) -> None:
    frame = PROTECT[profile](bytes(range(8)), 0x100, 3)
    for bit in range(64):
        wrong = bytearray(frame)
        wrong[bit // 8] ^= 1 << bit % 8
        assert Receiver(0x100, profile).check(bytes(wrong)) is Status.CRC_ERROR
    for other in (0x101, 0x000, 0x001, 0x110, 0x200):
        assert Receiver(other, profile).check(frame) is Status.CRC_ERROR


@pytest.mark.parametrize("profile", e2e.PROFILES)
def test_a_receiver_tells_lost_repeated_and_out_of_order_frames(profile: str) -> None:
    sender, receiver = Sender(0x123, profile), Receiver(0x123, profile, max_delta=2)
    frames = [sender.protect(bytes(8)) for _ in range(300)]
    assert receiver.check(frames[0]) is Status.INITIAL
    assert receiver.check(frames[1]) is Status.OK
    assert receiver.check(frames[1]) is Status.REPEATED
    assert receiver.check(frames[3]) is Status.OK_SOME_LOST
    assert receiver.check(frames[6]) is Status.WRONG_SEQUENCE
    assert receiver.check(frames[7]) is Status.OK  # follows the frame that was out of sequence
    assert receiver.check(frames[5]) is Status.WRONG_SEQUENCE
    receiver.forget()
    assert receiver.check(frames[9]) is Status.INITIAL
    assert [receiver.check(f) for f in frames[10:]] == [Status.OK] * 290  # the counter wraps
    assert sum(receiver.counts.values()) == 8 + 290


@pytest.mark.parametrize("profile", e2e.PROFILES)
def test_any_bytes_get_a_verdict(profile: str, seed: int) -> None:
    chance = random.Random(seed)
    receiver = Receiver(0x55, profile)
    for _ in range(2000):
        assert isinstance(receiver.check(chance.randbytes(chance.randint(0, 12))), Status)
    assert receiver.check(b"") is Status.CRC_ERROR


def test_counter_15_is_invalid_in_profile_1_even_with_a_right_crc() -> None:
    frame = bytearray(8)
    frame[1] = 15
    frame[0] = e2e.p01_crc(bytes(frame), 0x100)
    assert Receiver(0x100).check(bytes(frame)) is Status.CRC_ERROR


def test_only_fresh_frames_are_usable() -> None:
    assert [s.is_usable for s in Status] == [True, True, True, False, False, False]


@pytest.fixture(scope="module")
def c_twin(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("e2e")
    source = folder / "twin.c"
    source.write_text(
        '#include "e2e.h"\n'
        "void protect(uint16_t id, uint8_t *d, uint32_t n, uint8_t *c)\n"
        "{ e2e_p01_protect(id, d, n, c); }\n"
        "int check(uint8_t *last, uint16_t id, const uint8_t *d, uint32_t n)\n"
        "{ e2e_p01_rx_t rx = {*last}; int s = (int)e2e_p01_check(&rx, id, d, n);\n"
        "  *last = rx.counter; return s; }\n"
    )
    include = Path(__file__).resolve().parents[3] / "ext" / "common"
    library = folder / "twin.so"
    subprocess.run(
        [compiler, "-std=c99", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(library)],
        check=True,
    )
    return ctypes.CDLL(str(library))


def test_c_and_python_protect_and_judge_alike(c_twin: ctypes.CDLL, seed: int) -> None:
    chance = random.Random(seed)
    sender, receiver = Sender(0x100), Receiver(0x100)
    c_counter, c_last = ctypes.c_uint8(0), ctypes.c_uint8(255)
    seen = set()
    for _ in range(3000):
        payload = chance.randbytes(8)
        frame = sender.protect(payload)
        buffer = (ctypes.c_uint8 * 8)(*payload)
        c_twin.protect(0x100, buffer, 8, ctypes.byref(c_counter))
        assert bytes(buffer) == frame
        for _ in range(chance.choice((0, 0, 1, 1, 1, 2))):  # lost, once, twice
            if chance.random() < 0.1:
                frame = chance.randbytes(chance.randint(0, 8))
            given = (ctypes.c_uint8 * 8)(*frame.ljust(8, b"\0"))
            status = receiver.check(frame)
            assert c_twin.check(ctypes.byref(c_last), 0x100, given, len(frame)) == status
            assert c_last.value == (255 if receiver.counter is None else receiver.counter)
            seen.add(status)
    assert seen == set(Status)
