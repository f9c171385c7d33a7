"""socketcand, UDP and python-can interfaces over real loopback sockets."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator

import can
import numpy as np
import pytest

from bms import _links, links
from bms.errors import LinkError
from bms.links import Frame, Link

pytestmark = pytest.mark.wires


def until(what: Callable[[], object], *served: Link, timeout_s: float = 10.0) -> bool:
    """Whether it became true in time; the links are served meanwhile."""
    end = time.monotonic() + timeout_s
    while not what():
        for link in served:
            link.service()
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def port_of(server: Link) -> int:
    return int(server.place.rpartition(":")[2])


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server() -> Iterator[Link]:
    with links.open("socketcand-server:127.0.0.1:0/can0") as link:
        yield link


class Talker:
    """A client of the server that writes and reads text itself."""

    def __init__(self, server: Link):
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", port_of(server)))
        self.socket.setblocking(False)
        assert self.hear(1) == "< hi >"

    def say(self, text: str, wanted: int = 1) -> str:
        self.socket.sendall(text.encode())
        return self.hear(wanted)

    def hear(self, wanted: int = 1, timeout_s: float = 5.0) -> str:
        """What has come when `wanted` messages have, or soon if 0 are wanted."""
        said, end = "", time.monotonic() + (timeout_s if wanted else 0.1)
        while (said.count(">") < wanted or not wanted) and time.monotonic() < end:
            self.server.service()
            with contextlib.suppress(BlockingIOError):
                said += self.socket.recv(65536).decode()
        return said

    def join(self) -> Talker:
        assert self.say("< open can0 >") == "< ok >"
        assert self.say("< rawmode >") == "< ok >"
        assert self.say("< echo >") == "< echo >"
        return self

    def close(self) -> None:
        self.socket.close()


def test_the_handshake_and_the_modes(server: Link) -> None:
    talker = Talker(server)
    assert talker.say("< rawmode >") == "< error unknown command >"
    assert talker.say("< open can7 >") == "< error could not open bus >"
    assert talker.say("< open can0 >") == "< ok >"
    server.send(Frame(0x123))
    assert talker.hear(0) == ""  # not in raw mode yet
    assert talker.say("< send 123 1 a >", 0) == "" and server.receive(5.0) == Frame(0x123, b"\x0a")
    assert talker.say("< rawmode >< echo >", 2) == "< ok >< echo >"
    server.send(Frame(0x123, b"\x0a"))
    text = talker.hear()
    assert text.startswith("< frame 123 ") and text.endswith(" 0A >")
    assert abs(float(text.split()[3]) - time.time()) < 60.0
    server.send(Frame(0x55, remote=True, length=4))
    assert talker.hear().startswith("< rtr 055 ")
    assert talker.say("< bcmmode >") == "< ok >"
    assert talker.say("< make tea >") == "< error unknown command >"
    talker.close()
    assert until(lambda: server.client_count == 0, server)


def test_answers_to_the_handshake_come_alone_even_on_a_busy_bus(server: Link) -> None:
    talker = Talker(server)
    talker.say("< open can0 >")
    talker.socket.sendall(b"< rawmode >")
    said = []
    while len(said) < 2:
        server.send(Frame(1))
        server.service()
        with contextlib.suppress(BlockingIOError):
            said.append(talker.socket.recv(65536))
    assert said[0] == b"< ok >" and said[1].startswith(b"< frame 001 ")
    talker.close()


def test_clients_hear_each_other_and_the_bus_but_not_themselves(server: Link) -> None:
    one, two = Talker(server).join(), Talker(server).join()
    assert one.say("< send 7FF 2 1 2 >", 0) == ""
    assert two.hear().endswith(" 0102 >") and server.receive(5.0) == Frame(0x7FF, b"\x01\x02")
    server.send(Frame(0x18FF50E5, b"\xff", extended=True))
    for talker in (one, two):
        assert talker.hear().startswith("< frame 18FF50E5 ")
    assert server.client_count == 2 and server.counters["clients"] == 2
    one.close()
    two.close()


def test_bad_messages_are_counted_and_answered_only_where_that_hurts_nobody(server: Link) -> None:
    talker = Talker(server).join()
    for bad in ("< send 123 9 >", "< send 800 0 >", "< send xyz 0 >", "< send 123 >"):
        assert talker.say(bad, 0) == ""  # python-can cannot read a refusal
    assert talker.say("noise < echo >") == "< echo >"
    assert talker.say("<" + "x" * 5000, 0) == ""
    assert talker.say("y > < echo >") == "< echo >"
    found = server.counters
    assert (found["malformed_length"], found["malformed_id"], found["malformed_digit"]) == (2, 1, 1)
    assert found["malformed_unknown"] >= 1 and found["malformed_overlong"] == 1
    talker.say("< send 12", 0)
    time.sleep(1.2)  # half a message, then silence
    server.service()
    assert server.counters["malformed_cut"] == 1
    talker.say("< send 12", 0)
    talker.close()
    assert until(lambda: server.client_count == 0, server)
    assert server.counters["malformed_cut"] == 2 and server.receive() is None


def test_a_client_that_does_not_read_is_cut_off_and_the_others_stay(server: Link) -> None:
    slow, quick = Talker(server).join(), Talker(server).join()
    batch = np.zeros(100, links.FRAME_DTYPE)
    batch["length"] = 8
    heard = 0
    while server.counters["clients_dropped"] == 0:
        server.send_batch(batch)
        heard += quick.hear(100).count(">")
    assert server.client_count == 1 and server.counters["clients_dropped"] == 1
    assert heard == server.counters["tx_frames"]
    assert quick.say("< echo >") == "< echo >"
    slow.close()
    quick.close()


def test_a_server_takes_so_many_clients_and_no_more(server: Link) -> None:
    talkers = [Talker(server) for _ in range(16)]
    late = socket.create_connection(("127.0.0.1", port_of(server)))
    assert until(lambda: server.counters["clients_refused"] == 1, server)
    assert late.recv(10) == b""
    late.close()
    for talker in talkers:
        talker.close()


def test_a_port_that_is_taken_is_an_error_of_ours(server: Link) -> None:
    with pytest.raises(LinkError, match="in use"):
        links.open(f"socketcand-server:127.0.0.1:{port_of(server)}/can0")


def test_python_can_joins_the_emulated_bus(server: Link) -> None:
    port = port_of(server)
    with links.Join(server, links.open("inproc:sc")), links.open("inproc:sc") as bus:
        options = {"interface": "socketcand", "host": "127.0.0.1", "port": port}
        one, two = (can.Bus(channel="can0", **options) for _ in range(2))
        sent = [
            can.Message(arbitration_id=0x123, data=[1, 10, 255], is_extended_id=False),
            can.Message(arbitration_id=0x1FFFFFFF, data=bytes(8)),
            can.Message(arbitration_id=0x12, data=[], is_extended_id=False),
        ]
        for message in sent:
            one.send(message)
        heard = [bus.receive(5.0) for _ in sent]
        assert [str(frame) for frame in heard] == ["123#010AFF", "1FFFFFFF#" + "00" * 8, "012#"]
        for frame in heard:
            bus.send(frame)
        for client in (two, two, one):  # the second hears both; the first only the bus
            for message in sent:
                back = client.recv(5.0)
                assert back is not None and back.equals(
                    message, timestamp_delta=None, check_channel=False, check_direction=False
                )
        assert one.recv(0.05) is None
        # It writes a remote frame as a data frame without data: of no use, and harmless.
        one.send(can.Message(arbitration_id=5, is_remote_frame=True, dlc=2, is_extended_id=False))
        bus.send(Frame(6, remote=True))
        bus.send(Frame(7))
        assert two.recv(5.0).arbitration_id == 7 and bus.receive(0.05) is None
        with pytest.raises(can.CanError):
            can.Bus(channel="nope", **options)
        one.shutdown()
        two.shutdown()


def test_our_client_comes_back_when_the_server_does() -> None:
    port = free_port(socket.SOCK_STREAM)
    with links.open(f"socketcand:127.0.0.1:{port}/can0") as client:
        assert not client.wait_up(0.05) and "refused" in client.reason
        for count in (1, 2):
            with links.open(f"socketcand-server:127.0.0.1:{port}/can0") as server:
                assert until(lambda: client.state == "up", client, server)
                client.send(Frame(0x123, b"\x01"))
                assert server.receive(5.0) == Frame(0x123, b"\x01")
                client.send(Frame(0x124, remote=True, length=2))
                assert server.receive(5.0) == Frame(0x124, remote=True, length=2)
                server.send(Frame(0x18FF50E5, bytes(8), extended=True))
                heard = client.receive(5.0)
                assert heard == Frame(0x18FF50E5, bytes(8), extended=True)
                assert heard.time_s <= time.monotonic()
            assert until(lambda: client.state != "up", client)
            assert client.counters["disconnects"] == client.counters["connects"] == count


def test_our_client_says_what_the_server_does_not_like(server: Link) -> None:
    with links.open(f"socketcand:127.0.0.1:{port_of(server)}/can7") as client:
        assert until(lambda: "could not open bus" in client.reason, client, server)
        assert client.state == "waiting"


def test_our_client_survives_a_server_that_talks_nonsense(seed: int) -> None:
    draw = random.Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with links.open(f"socketcand:127.0.0.1:{port}/can0") as client:
            until(lambda: client.place, client)
            talk, _ = listener.accept()
            talk.settimeout(5.0)
            for answer in (b"< hi >", b"< ok >", b"< ok >"):
                talk.sendall(answer)
                client.receive(0.02)
            assert until(lambda: client.state == "up", client)
            good = 0
            for _ in range(300):
                noise = draw.randbytes(draw.randrange(600)).replace(b"<", b"").replace(b">", b"")
                halves = draw.choice([b"<", b"< frame", b"< frame 123 1.0 1", b"< send 123 1 1 >"])
                talk.sendall(noise + halves + noise + b" >< frame 7FF 1.0 AB >")
                while (frame := client.receive()) is not None:
                    good += frame == Frame(0x7FF, b"\xab")
            while (frame := client.receive(0.1)) is not None:
                good += frame == Frame(0x7FF, b"\xab")
            assert good == 300 and client.state == "up"
            assert client.counters["malformed_unknown"] > 100
            talk.close()


def test_two_programs_find_each_other_by_udp_in_any_order() -> None:
    url = f"udp:127.0.0.1:{free_port()}"
    first, second = links.open(url, fd=True), links.open(url, fd=True)
    assert "listening" in first.place and "listening" not in second.place
    assert until(lambda: first.state == second.state == "up", first, second)
    for here, there in ((first, second), (second, first)):
        here.send(Frame(0x18FF50E5, bytes(range(64)), extended=True, fd=True, brs=True))
        here.send(Frame(5, remote=True, length=3))
        assert there.receive(5.0) == Frame(
            0x18FF50E5, bytes(range(64)), extended=True, fd=True, brs=True
        )
        assert there.receive(5.0) == Frame(5, remote=True, length=3)
    first.close()  # the other one notices, takes the port, and is found again
    assert until(lambda: second.state != "up", second)
    third = links.open(url, fd=True)
    assert until(lambda: second.state == third.state == "up", second, third)
    third.send(Frame(1))
    assert second.receive(5.0) == Frame(1)
    second.close()
    third.close()


def test_many_frames_share_datagrams_and_lost_ones_are_noticed() -> None:
    port = free_port()
    batch = np.zeros(500, links.FRAME_DTYPE)
    batch["id"], batch["length"] = np.arange(500), 8
    with links.open(f"udp:127.0.0.1:{port}@{free_port()}") as link:
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.bind(("127.0.0.1", port))
        far.settimeout(5.0)
        assert link.state == "up" and link.send_batch(batch) == 500
        found: list[Frame] = []
        while len(found) < 500:
            raw, address = far.recvfrom(65536)
            assert len(raw) <= 1472
            found += _links.datagram_decode(raw)[0]
        assert [frame.id for frame in found] == list(range(500))
        for sequence in (7, 8, 11):
            far.sendto(_links.datagram_encode([Frame(sequence)], sequence), address)
        far.sendto(b"\x02\x00\x0c\x00\x02\x00\x00\x00\x01\x00", address)  # says two, has one
        far.sendto(b"nonsense", address)
        assert [link.receive(5.0).id for _ in range(4)] == [7, 8, 11, 1]
        assert until(lambda: link.counters["malformed_unknown"] == 1, link)
        assert link.counters["lost_outside"] == 2 and link.counters["malformed_length"] == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(_links.datagram_encode([Frame(1)]), address)
            assert until(lambda: link.counters["clients_refused"] == 1, link)
        assert link.receive() is None
        far.close()


def test_an_interface_of_python_can_is_a_link_like_any_other() -> None:
    with links.open("virtual:chan", fd=True) as link:
        assert link.wait_up(5.0) and link.kind == "python"
        with can.Bus(interface="virtual", channel="chan") as other:
            frames = [
                Frame(0x123, b"hello"), Frame(0x18FF50E5, remote=True, length=3, extended=True),
                Frame(0x7, bytes(12), fd=True, brs=True),
            ]  # fmt: skip
            for frame in frames:
                assert link.send(frame)
            heard = [other.recv(5.0) for _ in frames]
            for message in heard:
                other.send(message)
            assert [link.receive(5.0) for _ in frames] == frames


def test_an_interface_that_cannot_be_opened_says_why_and_is_tried_again() -> None:
    with links.open("serial:/nonexistent/tty") as link:
        assert not link.wait_up(0.3)
        assert link.state == "waiting" and "nonexistent" in link.reason
        assert link.counters["failures"] >= 2
        assert not link.send(Frame(1)) and link.counters["tx_dropped"] == 1


def test_a_dead_member_does_not_stop_a_joint() -> None:
    members = [
        links.open("inproc:left"),
        links.open("slcan:/nonexistent/tty"),
        links.open(f"socketcand:127.0.0.1:{free_port(socket.SOCK_STREAM)}/can0"),
        links.open("inproc:right"),
    ]
    with (
        links.Join(*members),
        links.open("inproc:left") as left,
        links.open("inproc:right") as right,
    ):
        for k in range(200):
            left.send(Frame(k))
        assert [right.receive(5.0).id for _ in range(200)] == list(range(200))
        right.send(Frame(7))
        assert left.receive(5.0) == Frame(7)
        assert members[1].state == "waiting" and members[1].counters["tx_dropped"] == 201
        with pytest.raises(LinkError, match="lent"):
            members[0].receive()
