"""SLCAN over real pseudo-terminals: our server under other people's clients and under abuse, our
client on an adapter that is played here by hand, and both together."""

from __future__ import annotations

import contextlib
import os
import random
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import can
import numpy as np
import pytest

from bms import _links, links
from bms.errors import LinkError
from bms.links import Frame, Link

pytestmark = pytest.mark.wires


def until(what: Callable[[], object], timeout_s: float = 10.0) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


class Terminal:
    """A client of a pseudo-terminal that writes and reads bytes itself."""

    def __init__(self, device: str, server: Link):
        self.fd, self.server = _links.serial_open(device), server

    def say(self, text: bytes, wanted: int = 0) -> bytes:
        """What the server answers until `wanted` ends of line have come, or soon."""
        os.write(self.fd, text)
        return self.hear(wanted)

    def hear(self, wanted: int = 0) -> bytes:
        said = b""
        for _ in range(400):
            self.server.service()
            with contextlib.suppress(BlockingIOError):
                said += os.read(self.fd, 65536)
            if wanted and said.count(b"\r") + said.count(b"\a") >= wanted:
                break
            if not wanted and not select.select([self.fd], [], [], 0.02)[0]:
                break
            time.sleep(0.001)
        return said

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Link]:
    with links.open(f"slcan-server:{tmp_path / 'can0'}", fd=True) as link:
        yield link


@pytest.fixture
def terminal(server: Link) -> Iterator[Terminal]:
    terminal = Terminal(server.place, server)
    yield terminal
    terminal.close()


def malformed(link: Link) -> int:
    return sum(n for name, n in link.counters.items() if name.startswith("malformed_"))


DIALOGUE = [
    (b"t1230\r", b"\a"),  # closed: nothing is sent
    (b"V\r", b"V1013\r"),
    (b"v\r", b"v1013\r"),
    (b"N\r", b"NSBMS\r"),
    (b"F\r", b"\a"),  # status only when open
    (b"S9\r", b"\r"),
    (b"SA\r", b"\a"),
    (b"S6\r", b"\r"),
    (b"s031C\r", b"\r"),
    (b"Y2\r", b"\r"),
    (b"M00000000\r", b"\r"),
    (b"mFFFFFFFF\r", b"\r"),
    (b"Q1\r", b"\r"),
    (b"U1\r", b"\r"),
    (b"\r", b"\r"),  # python-can sends an empty line
    (b"O\r", b"\r"),
    (b"O\r", b"\r"),  # and opens twice
    (b"S6\r", b"\a"),  # not while it is open
    (b"mFFFFFFFF\r", b"\a"),
    (b"F\r", b"F02\r"),  # the frame before opening was refused
    (b"F\r", b"F00\r"),
    (b"t1230\r", b"\r"),
    (b"X1\r", b"\r"),
    (b"t1230\r", b"z\r"),
    (b"T000001230\r", b"Z\r"),
    (b"X2\r", b"\a"),
    (b"t12\r", b"\a"),
    (b"t1239\r", b"\a"),
    (b"?\r", b"\a"),
    (b"M1\r", b"\r"),  # the CANable's way to be silent
    (b"t1230\r", b"\a"),
    (b"M0\r", b"\r"),
    (b"A1\r", b"\r"),
    (b"Z1\r", b"\r"),
    (b"C\r", b"\r"),
    (b"L\r", b"\r"),
    (b"t1230\r", b"\a"),  # listen only
    (b"C\r", b"\r"),
]


def test_the_server_answers_as_the_manual_says(terminal: Terminal) -> None:
    answers = [terminal.say(said, wanted=1) for said, _ in DIALOGUE]
    assert answers == [answer for _, answer in DIALOGUE]


def test_many_commands_in_one_write_are_answered_in_order(terminal: Terminal) -> None:
    said = b"".join(command for command, _ in DIALOGUE)
    assert terminal.say(said, wanted=len(DIALOGUE)) == b"".join(answer for _, answer in DIALOGUE)


def test_an_open_channel_gets_frames_and_a_closed_one_none(
    server: Link, terminal: Terminal
) -> None:
    server.send(Frame(1))
    assert terminal.say(b"O\r", wanted=1) == b"\r"
    server.send(Frame(0x123, b"\xab"))
    server.send(Frame(0x18FF50E5, remote=True, length=3, extended=True))
    server.send(Frame(0x7, bytes(12), fd=True, brs=True))
    assert terminal.hear(3) == b"t1231AB\rR18FF50E53\rb0079" + b"00" * 12 + b"\r"
    assert terminal.say(b"Z1\r", wanted=1) == b"\r"
    server.send(Frame(0x123, b"\xab"))
    stamped = terminal.hear(1)
    assert stamped[:8] == b"t1231AB0" and int(stamped[7:11], 16) < 60000
    assert terminal.say(b"C\r", wanted=1) == b"\r"
    server.send(Frame(2))
    assert terminal.hear() == b""


def test_a_polling_client_gets_frames_when_it_asks(server: Link, terminal: Terminal) -> None:
    terminal.say(b"X0\rO\r", wanted=2)
    for number in (1, 2, 3):
        server.send(Frame(number))
    assert terminal.hear() == b""
    assert terminal.say(b"P\r", wanted=1) == b"t0010\r"
    assert terminal.say(b"A\r", wanted=3) == b"t0020\rt0030\rA\r"
    assert terminal.say(b"P\r", wanted=1) == b"\r"
    for number in range(100):
        server.send(Frame(number))
    assert terminal.say(b"F\r", wanted=1) == b"F01\r"  # its queue was full
    assert server.counters["tx_dropped"] == 36


def test_the_acceptance_filter_lets_through_what_it_names(server: Link, terminal: Terminal) -> None:
    # Single filter: 11 bits of identifier on top; a one in the mask means "any".
    terminal.say(b"W1\rM24600000\rm001FFFFF\rO\r", wanted=4)
    for number in (0x122, 0x123, 0x124):
        server.send(Frame(number))
    assert terminal.hear(1) == b"t1230\r"


def test_identity_survives_a_restart_and_only_our_own_link_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "can0"
    with links.open(f"slcan-server:{path}") as first:
        assert os.readlink(path) == first.place
        with links.open(f"slcan-server:{path}") as second:  # the later one takes it
            assert os.readlink(path) == second.place
            first.close()
            assert os.readlink(path) == second.place
    assert not path.is_symlink()
    path.write_text("mine", "utf-8")
    with pytest.raises(LinkError, match="no symbolic link"):
        links.open(f"slcan-server:{path}")
    assert path.read_text("utf-8") == "mine"


def test_a_client_that_vanishes_leaves_a_clean_adapter(server: Link) -> None:
    for count in range(1, 4):
        terminal = Terminal(server.place, server)
        assert terminal.say(b"O\rt123", wanted=1) == b"\r"  # half a frame, then gone
        server.send(Frame(5))
        terminal.close()
        assert until(lambda: server.service() or server.client_count == 0)
        assert server.counters["disconnects"] == server.counters["clients"] == count
    server.send(Frame(6))
    terminal = Terminal(server.place, server)
    assert terminal.hear() == b""  # neither old frames nor new ones: its channel is closed
    assert terminal.say(b"F\r", wanted=1) == b"\a"
    assert server.counters["malformed_cut"] == 3
    terminal.close()


def test_a_client_that_does_not_read_costs_frames_but_no_time(
    server: Link, terminal: Terminal
) -> None:
    batch = np.zeros(1000, links.FRAME_DTYPE)
    batch["length"] = 8
    terminal.say(b"O\r", wanted=1)
    for _ in range(20):
        server.send_batch(batch)
    counters = server.counters
    assert counters["tx_dropped"] > 10_000
    assert counters["tx_frames"] + counters["tx_dropped"] == 20_000
    text = b""
    for _ in range(400):
        text += terminal.hear()
        if text.count(b"\r") >= counters["tx_frames"]:
            break
    assert text == b"t00080000000000000000\r" * counters["tx_frames"]
    assert terminal.say(b"F\r", wanted=1) == b"F01\r"


def test_python_can_joins_the_emulated_bus(tmp_path: Path) -> None:
    path = str(tmp_path / "can0")
    members = (links.open("inproc:emulated", fd=True), links.open(f"slcan-server:{path}", fd=True))
    with links.Join(*members), links.open("inproc:emulated", fd=True) as bus:
        for _ in range(2):  # the same device serves one client after the other
            client = can.Bus(
                interface="slcan", channel=path, bitrate=500000, sleep_after_open=0, fd=True
            )
            assert client.get_version(1.0) == (10, 13)
            assert client.get_serial_number(1.0) == "SBMS"
            sent = [
                can.Message(arbitration_id=0x123, data=[1, 2], is_extended_id=False),
                can.Message(arbitration_id=0x18FF50E5, data=bytes(8)),
                can.Message(
                    arbitration_id=0x55, is_extended_id=False, is_remote_frame=True, dlc=4
                ),
                can.Message(
                    arbitration_id=0x7, is_extended_id=False, is_fd=True, bitrate_switch=True,
                    data=bytes(range(64)),
                ),
            ]  # fmt: skip
            for message in sent:
                client.send(message)
            heard = [bus.receive(5.0) for _ in sent]
            assert [str(frame) for frame in heard] == [
                "123#0102", "18FF50E5#" + "00" * 8, "055#R4",
                "007##1" + bytes(range(64)).hex().upper(),
            ]  # fmt: skip
            for frame in heard:
                bus.send(frame)
            for message in sent:
                back = client.recv(5.0)
                assert back is not None and back.equals(
                    message, timestamp_delta=None, check_channel=False, check_direction=False
                )
            client.shutdown()


def test_our_client_opens_an_adapter_as_it_should() -> None:
    adapter, device = _links.serial_pty()
    with links.open(f"slcan:{device}@250000/5000000", fd=True) as link:
        assert link.state == "connecting" and until(lambda: link.service() or True)
        assert os.read(adapter, 100) == b"C\rC\rS5\rY5\rO\r"
        os.write(adapter, b"\a\r\r\r\r")  # closing what is closed may be refused
        assert link.wait_up(5.0)
        link.send(Frame(0x123, b"\xff"))
        assert os.read(adapter, 100) == b"t1231FF\r"
        os.write(adapter, b"z\rT18FF50E5101\rF08\rV1013\r\a")
        assert link.receive(5.0) == Frame(0x18FF50E5, b"\x01", extended=True)
        link.service()
        assert link.counters["tx_refused"] == 1 and link.counters["lost_outside"] == 1
        assert malformed(link) == 0
    assert os.read(adapter, 100) == b"C\r"
    os.close(adapter)


def test_our_client_takes_an_adapter_that_never_answers_as_open() -> None:
    adapter, device = _links.serial_pty()
    with links.open(f"slcan:{device}", listen_only=True) as link:
        assert link.wait_up(5.0)
        assert os.read(adapter, 100) == b"C\rC\rL\r"
        assert not link.send(Frame(1))
    os.close(adapter)


def test_an_adapter_that_refuses_to_open_is_tried_again() -> None:
    adapter, device = _links.serial_pty()
    with links.open(f"slcan:{device}") as link:
        os.write(adapter, b"\r\r\a")
        assert until(lambda: link.service() or link.state == "waiting")
        assert "refuses" in link.reason and link.counters["failures"] == 1
        assert until(lambda: link.service() or link.state == "connecting")
        os.write(adapter, b"\r\r\r")
        assert link.wait_up(5.0)
    os.close(adapter)


def test_stamps_of_the_adapter_are_carried_over_to_our_clock() -> None:
    adapter, device = _links.serial_pty()
    with links.open(f"slcan:{device}") as link:
        os.write(adapter, b"\r\r\r")
        assert link.wait_up(5.0)
        os.write(adapter, b"t0010EA5A\r")  # 59 994 ms
        first = link.receive(5.0)
        time.sleep(0.02)
        os.write(
            adapter, b"t0020EA5F\rt00300004\r"
        )  # late: sent 5 and, the minute over, 10 ms after
        second, third = link.receive(5.0), link.receive(5.0)
        assert first and second and third
        assert 5000 <= second.time_us - first.time_us < 5100  # 200 ppm of drift are allowed for
        assert 5000 <= third.time_us - second.time_us < 5100
        assert third.time_s <= time.monotonic()
    os.close(adapter)


def test_a_port_that_vanishes_is_opened_again_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "tty"
    with links.open(f"slcan:{path}") as link:
        assert link.state == "waiting" and "No such file" in link.reason
        for count in (1, 2):
            server = links.open(f"slcan-server:{path}")
            assert until(lambda s=server: s.service() or link.service() or link.state == "up")
            assert link.send(Frame(0x10 + count)) and server.receive(5.0) == Frame(0x10 + count)
            server.close()
            assert until(lambda: link.service() or link.state == "waiting")
            assert not link.send(Frame(1))
            assert link.counters["disconnects"] == count and link.counters["tx_dropped"] == count
        assert link.counters["connects"] == 2 and link.counters["failures"] >= 1


def garbage(draw: random.Random, lines: int) -> bytes:
    """Good lines, half lines, noise, and lines without end."""
    pieces = []
    for _ in range(lines):
        kind = draw.randrange(8)
        good = b"t1232AABB\r"
        if kind < 4:
            pieces.append(good)
        elif kind == 4:
            pieces.append(good[: draw.randrange(9)] + b"\r")
        elif kind == 5:
            pieces.append(draw.randbytes(draw.randrange(30)) + b"\r")
        elif kind == 6:
            pieces.append(b"t" * draw.randrange(1000) + b"\r")
        else:
            flipped = bytearray(good)
            flipped[draw.randrange(9)] ^= 1 << draw.randrange(8)
            pieces.append(bytes(flipped) + b"\r")
    return b"".join(pieces)


@pytest.mark.parametrize("as_server", [True, False])
def test_a_flood_of_garbage_is_counted_and_good_frames_come_through(
    as_server: bool, seed: int
) -> None:
    draw = random.Random(seed)
    if as_server:
        link = links.open("slcan-server:")
        port = _links.serial_open(link.place)
        os.write(port, b"O\r")
    else:
        port, device = _links.serial_pty()
        link = links.open(f"slcan:{device}")
        os.write(port, b"\r\r\r")
    link.wait_up(5.0)
    good, rounds = 0, 60
    for _ in range(rounds):
        data = memoryview(garbage(draw, 200) + b"\rt7FF0\r")
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(port, data[: draw.randrange(1, 2000)]) :]
            while (frame := link.receive()) is not None:
                good += frame == Frame(0x7FF)
            with contextlib.suppress(BlockingIOError):
                os.read(port, 65536)  # answers
    while (frame := link.receive(0.05)) is not None:
        good += frame == Frame(0x7FF)
    assert good == rounds and link.state == "up"
    found = link.counters
    assert all(found["malformed_" + why] > 0 for why in ("digit", "length", "overlong", "unknown"))
    os.write(port, b"t12")
    assert link.receive() is None
    time.sleep(1.2)  # half a frame, then silence
    os.write(port, b"t7FF0\r")
    assert until(lambda: link.receive() == Frame(0x7FF))
    assert link.counters["malformed_cut"] >= found["malformed_cut"] + 1
    link.close()
    os.close(port)


def test_patient_links_pass_everything_on_at_the_pace_of_the_slowest(seed: int) -> None:
    """Two adapters joined, one fed without mercy, the other read in small sips: nothing is lost."""
    draw = random.Random(seed)
    (left, left_device), (right, right_device) = _links.serial_pty(), _links.serial_pty()
    members = [
        links.open(f"slcan:{device}", patient=True, ring=1024)
        for device in (left_device, right_device)
    ]
    for adapter, link in zip((left, right), members, strict=True):
        os.write(adapter, b"\r\r\r")
        assert link.wait_up(5.0)
        os.read(adapter, 100)
    count, heard = 20_000, bytearray()
    sent = memoryview(b"".join(b"T%08X0\r" % k for k in range(count)))
    with links.Join(*members):
        while heard.count(b"\r") < count:
            with contextlib.suppress(BlockingIOError):
                sent = sent[os.write(left, sent) :]
            if not sent:
                assert select.select([right], [], [], 5.0)[0]
            with contextlib.suppress(BlockingIOError):
                heard += os.read(right, draw.randrange(1, 4096))
        lost = {name: [link.counters[name] for link in members] for name in members[0].counters}
        assert lost["rx_dropped"] == lost["tx_dropped"] == [0, 0]
    assert bytes(heard) == b"".join(b"T%08X0\r" % k for k in range(count))
    os.close(left)
    os.close(right)
