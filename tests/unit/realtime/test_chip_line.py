"""The chips' line on a pseudo-terminal, from both ends: bytes, speeds and low pulses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bms import _realtime
from bms.errors import LinkError
from bms.realtime.afe import ChipsEnd, EcuEnd

pytestmark = pytest.mark.wires


class Runner:
    """What has a line, without a runner."""

    def __init__(self) -> None:
        self.parts = {"line": dict[str, np.ndarray](), "pace": {"steps": np.zeros(1)}}
        names = ("heard_us", "bytes_in", "bytes_out", "bytes_dropped", "pulses", "errors", "losses")
        for name in (*names, "is_lost"):
            self.parts["line"][name] = np.zeros(1, np.int64)
        self.given: list[tuple[int, int]] = []

    def set_line(self, fd: int, kind: int) -> None:
        self.given.append((fd, kind))
        self.parts["pace"]["steps"] += 2  # the runner goes on, so nobody waits for it


@pytest.fixture
def ends() -> Iterator[SimpleNamespace]:
    """A line at the chips' end and one at the control unit's."""
    server, path = _realtime.open_pty()
    client = _realtime.open_client(path, 0)
    chips, ecu = _realtime.Line(), _realtime.Line()
    chips.attach(server, _realtime.PTY)
    ecu.attach(client, _realtime.PTY)
    yield SimpleNamespace(chips=chips, ecu=ecu, path=path)
    os.close(server)
    os.close(client)


def test_bytes_cross_in_both_directions_and_nothing_is_translated(ends: SimpleNamespace) -> None:
    everything = bytes(range(256))
    heard = b""
    for k in range(0, 256, 32):
        ends.ecu.send(k * 1000, everything[k : k + 32], 1_000_000)
        baud, low_us, data = ends.chips.hear(k * 1000)
        assert (baud, low_us) == (1_000_000, 0)
        heard += data
    assert heard == everything
    ends.chips.answer(everything[:120])
    assert ends.ecu.receive(1) == everything[:120]
    ends.chips.answer(everything[120:])
    assert ends.ecu.receive(2) + ends.ecu.receive(3) == everything[120:]


@pytest.mark.parametrize(("low_us", "baud"), [(2250, 4000), (17, 529_411)])
def test_a_low_pulse_is_one_zero_at_a_slow_speed_and_what_follows_waits(
    ends: SimpleNamespace, low_us: int, baud: int
) -> None:
    ends.ecu.send(0, b"", 1_000_000, low_us)
    ends.ecu.send(1000, b"\xd0\x03", 1_000_000)
    assert ends.chips.hear(1000) == (baud, 0, b"\0")
    assert ends.chips.hear(1001) == (0, 0, b"")
    for now_us in range(2000, 12_000, 1000):
        ends.ecu.send(now_us, b"", 1_000_000)
    assert ends.chips.hear(12_000) == (1_000_000, 0, b"\xd0\x03")
    assert int(ends.ecu.fields["pulses"][0]) == 1


def test_a_flood_with_nobody_to_read_is_dropped_and_counted(ends: SimpleNamespace) -> None:
    for _ in range(2000):
        ends.chips.answer(bytes(100))
    written, dropped = (int(ends.chips.fields[x][0]) for x in ("bytes_out", "bytes_dropped"))
    assert dropped > 0
    assert written + dropped + int(ends.chips.fields["queued"][0]) == 200_000


def test_a_port_that_vanished_is_told_once_and_costs_nothing(ends: SimpleNamespace) -> None:
    server = int(ends.chips.fields["fd"][0])
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, server)  # hangs the line up; the descriptor stays ours
    os.close(null)
    for now_us in range(5):
        assert ends.ecu.receive(now_us) == b""
        ends.ecu.send(now_us, b"x", 1_000_000)
    assert int(ends.ecu.fields["is_lost"][0]) == 1
    assert int(ends.ecu.fields["losses"][0]) == 1
    assert int(ends.ecu.fields["bytes_dropped"][0]) == 5


def test_a_marked_port_hands_on_pulses_errors_and_data() -> None:
    """Marks as the kernel writes them (FF 00 00 break, FF 00 XX error, FF FF data), from a pipe."""
    read, write = os.pipe2(os.O_NONBLOCK)
    line = _realtime.Line()
    line.attach(read, _realtime.PORT)
    for pieces, asleep, expected in [
        ([b"\xff\0\0\xd0\x03"], True, (1_000_000, 2250, b"\xd0\x03")),
        ([b"\xff\0\0\xd0"], False, (1_000_000, 17, b"\xd0")),
        ([b"\x90\xff\xff\x01"], False, (1_000_000, 0, b"\x90\xff\x01")),
        ([b"\x90\xff\0\x41\x02"], False, (1_000_000, 0, b"\x90\x02")),
    ]:
        os.write(write, b"".join(pieces))
        assert line.hear(0, asleep) == expected
    assert int(line.fields["pulses"][0]) == 2
    assert int(line.fields["errors"][0]) == 1
    os.close(read)
    os.close(write)


def test_the_emulated_end_has_a_stable_path_that_goes_with_it(tmp_path: Path) -> None:
    runner = Runner()
    end = ChipsEnd(runner, "pty", tmp_path / "afe")
    assert (tmp_path / "afe").resolve() == Path(end.place)
    assert end.status(0)["state"] == "alone"
    other = EcuEnd(Runner(), str(tmp_path / "afe"))
    other.look(0.0)
    assert other.status(0)["state"] == "up"
    assert end.status(0)["state"] == "up"
    other.close()
    end.close()
    assert not (tmp_path / "afe").is_symlink()


def test_a_path_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "afe").write_text("mine")
    with pytest.raises(LinkError, match="--link"):
        ChipsEnd(Runner(), "pty", tmp_path / "afe")
    assert (tmp_path / "afe").read_text() == "mine"


def test_the_control_unit_waits_for_its_port_and_takes_it_when_it_comes(tmp_path: Path) -> None:
    runner = Runner()
    end = EcuEnd(runner, str(tmp_path / "afe"))
    end.look(0.0)
    assert "No such file" in end.status(0)["reason"]
    chips = ChipsEnd(Runner(), "pty", tmp_path / "afe")
    end.look(0.1)
    assert runner.given == [], "not before its time"
    end.look(1.0)
    assert len(runner.given) == 1
    runner.parts["line"]["is_lost"][0] = 1
    end.look(2.0)
    runner.parts["line"]["is_lost"][0] = 0
    assert runner.given[-1][0] == -1
    end.look(3.0)
    assert runner.given[-1][0] >= 0
    end.close()
    chips.close()


def test_a_link_left_by_a_killed_process_is_not_followed_to_a_strangers_terminal(
    tmp_path: Path,
) -> None:
    server, path = _realtime.open_pty()
    (tmp_path / "afe").symlink_to(path)
    os.utime(tmp_path / "afe", (1, 1), follow_symlinks=False)  # older than the terminal
    runner = Runner()
    end = EcuEnd(runner, str(tmp_path / "afe"))
    end.look(0.0)
    assert runner.given == []
    assert "gone" in end.status(0)["reason"]
    os.close(server)
