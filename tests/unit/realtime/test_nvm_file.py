"""The ECU's memory in a file: whole after every kill, and never somebody else's file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bms.errors import BmsError, ConfigError
from bms.realtime import nvm
from bms.realtime.nvm import Keeper, NvmFile


def page(fill: int) -> bytes:
    return bytes([fill]) * nvm.PAGE_BYTES


def content(path: Path, number: int) -> bytes:
    file = NvmFile(path)
    found = file.pages[number * nvm.PAGE_BYTES :][: nvm.PAGE_BYTES].tobytes()
    file.close()
    return found


def test_a_new_file_is_erased_and_what_is_stored_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "nvm"
    file = NvmFile(path)
    assert np.all(file.pages == 0xFF)
    for fill in range(5):
        file.store(3, page(fill))
    file.store(255, page(9))
    file.close()
    assert content(path, 3) == page(4)
    assert content(path, 255) == page(9)
    assert content(path, 4) == page(0xFF)


@pytest.mark.parametrize("written", [1, 16, 60, 83, 127])
def test_a_write_cut_anywhere_leaves_the_page_as_it_was(tmp_path: Path, written: int) -> None:
    path = tmp_path / "nvm"
    file = NvmFile(path)
    file.store(7, page(1))
    before = path.read_bytes()
    file.store(7, page(2))
    after = path.read_bytes()
    file.close()
    first = next(k for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
    path.write_bytes(before[:first] + after[first : first + written] + before[first + written :])
    whole = after[first : first + written].rstrip(b"\0") == after[first : first + 128].rstrip(b"\0")
    assert content(path, 7) == page(2 if whole else 1)


def test_a_rotten_page_is_told_and_the_one_before_it_used(tmp_path: Path) -> None:
    path = tmp_path / "nvm"
    file = NvmFile(path)
    file.store(0, page(1))
    file.store(0, page(2))
    file.close()
    data = bytearray(path.read_bytes())
    data[data.index(page(2)) + 5] ^= 0x10
    path.write_bytes(data)
    file = NvmFile(path)
    assert (file.damaged, file.pages[0]) == (1, 1)
    file.store(0, page(3))
    file.close()
    assert content(path, 0) == page(3)


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear reader")
    with pytest.raises(ConfigError, match=r"letter\.txt"):
        NvmFile(path)
    assert path.read_text() == "dear reader"


def test_two_ecus_do_not_share_a_memory(tmp_path: Path) -> None:
    file = NvmFile(tmp_path / "nvm")
    with pytest.raises(BmsError, match="in use"):
        NvmFile(tmp_path / "nvm")
    file.close()


class Firmware:
    """Wants pages stored, one after the other."""

    def __init__(self, wanted: list[tuple[int, bytes]]) -> None:
        self.wanted, self.answers, self.event = wanted, list[bool](), -1

    def set_nvm_event(self, fd: int) -> None:
        self.event = fd

    def page_to_store(self) -> tuple[int, bytes] | None:
        return self.wanted[0] if self.wanted else None

    def page_is_stored(self, good: bool) -> None:
        self.answers.append(good)
        self.wanted.pop(0)
        if self.wanted:
            os.eventfd_write(self.event, 1)


def test_the_keeper_stores_what_was_asked_for_before_it_ends(tmp_path: Path) -> None:
    firmware = Firmware([(1, page(1)), (2, page(2))])
    keeper = Keeper(NvmFile(tmp_path / "nvm"), firmware)
    os.eventfd_write(firmware.event, 1)
    while len(firmware.answers) < 2:
        os.sched_yield()
    firmware.wanted.append((1, page(7)))
    keeper.close()
    assert firmware.answers == [True, True, True]
    assert content(tmp_path / "nvm", 1) == page(7)
    assert content(tmp_path / "nvm", 2) == page(2)
