"""Frames as objects and in arrays, and the bus inside a process."""

import pickle
import threading

import numpy as np
import pytest

from bms import links
from bms.errors import LinkError
from bms.links import FRAME_DTYPE, Frame


def test_a_frame_shows_what_it_is_made_of() -> None:
    frame = Frame(0x18FF50E5, b"\xaa\xbb", extended=True, time_s=1.5)
    assert (frame.id, frame.data, frame.length, frame.time_s) == (0x18FF50E5, b"\xaa\xbb", 2, 1.5)
    assert frame.extended and not (frame.remote or frame.fd or frame.brs or frame.error)
    assert repr(frame) == "18FF50E5#AABB"
    assert repr(Frame(0x123)) == "123#"
    assert repr(Frame(0x123, remote=True, length=5)) == "123#R5"
    assert repr(Frame(0x123, b"\xaa\xbb", fd=True, brs=True)) == "123##1AABB"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((0x800,), {}),
        ((0x20000000,), {"extended": True}),
        ((1, bytes(9)), {}),
        ((1, bytes(9)), {"fd": True}),
        ((1, bytes(65)), {"fd": True}),
        ((1, b"a"), {"remote": True}),
        ((1,), {"remote": True, "length": 9}),
        ((1,), {"remote": True, "fd": True}),
        ((1,), {"brs": True}),
        ((1, b"a"), {"length": 3}),
    ],
)
def test_what_cannot_be_a_frame_is_refused(arguments: tuple, options: dict) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Frame(*arguments, **options)


def test_frames_are_equal_by_what_is_on_the_wire() -> None:
    frame = Frame(0x123, b"ab")
    assert frame == Frame(0x123, b"ab", time_s=7.0) and hash(frame) == hash(Frame(0x123, b"ab"))
    assert frame != Frame(0x123, b"ac") and frame != Frame(0x123, b"ab", extended=True)
    assert frame != Frame(0x123, b"ab", fd=True) and frame != "123#6162"
    assert pickle.loads(pickle.dumps(frame)) == frame


def test_the_array_form_has_the_same_fields() -> None:
    batch = np.zeros(1, FRAME_DTYPE)
    with links.open("inproc:shape", fd=True) as here, links.open("inproc:shape") as there:
        here.send(Frame(0x18FF50E5, bytes(range(64)), extended=True, fd=True, brs=True))
        assert there.receive_batch(batch) == 1
    one = batch[0]
    assert (one["id"], one["length"], one["flags"]) == (0x18FF50E5, 64, 1 | 4 | 8)
    assert bytes(one["data"]) == bytes(range(64)) and one["time_us"] > 0


def test_everybody_on_a_bus_hears_it_but_the_sender() -> None:
    members = [links.open("inproc:all") for _ in range(4)]
    other = links.open("inproc:other")
    assert members[1].send(Frame(0x7, b"x"))
    heard = [member.receive() for member in members]
    assert heard == [Frame(0x7, b"x"), None, Frame(0x7, b"x"), Frame(0x7, b"x")]
    assert other.receive() is None
    for member in (*members, other):
        member.close()


def test_order_is_kept_and_a_full_ring_drops_the_newest_and_counts_them() -> None:
    batch = np.zeros(1000, FRAME_DTYPE)
    batch["id"], batch["length"] = np.arange(1000), 8
    with links.open("inproc:full") as here, links.open("inproc:full", ring=256) as there:
        assert here.send_batch(batch) == 1000
        assert [frame.id for frame in iter(there.receive, None)] == list(range(256))
        assert there.counters["rx_dropped"] == 744 and there.counters["rx_frames"] == 256
        here.send(Frame(0x7FF))
        assert there.receive() == Frame(0x7FF)


def test_a_frame_a_link_may_not_send_is_counted_and_not_sent() -> None:
    with links.open("inproc:may") as there:
        with links.open("inproc:may") as classic:
            assert not classic.send(Frame(1, bytes(12), fd=True))
            assert classic.counters["tx_impossible"] == 1
        with links.open("inproc:may", listen_only=True) as quiet:
            assert not quiet.send(Frame(1))
            assert quiet.counters["tx_impossible"] == 1
        assert there.receive() is None


def test_only_arrays_of_frames_are_taken() -> None:
    with links.open("inproc:types") as link:
        with pytest.raises(TypeError, match="FRAME_DTYPE"):
            link.send_batch(np.zeros(80, np.uint8))
        with pytest.raises(TypeError, match="Frame"):
            link.send(None)  # type: ignore[arg-type]
        with pytest.raises((ValueError, BufferError)):
            link.send_batch(np.zeros(8, FRAME_DTYPE)[::2])
        fixed = np.zeros(8, FRAME_DTYPE)
        fixed.flags.writeable = False
        with pytest.raises((ValueError, BufferError)):
            link.receive_batch(fixed)


def test_a_closed_link_says_so_and_a_lent_one_is_left_alone() -> None:
    link = links.open("inproc:gone")
    link.lend()
    for use in (link.receive, link.close, lambda: link.send(Frame(1))):
        with pytest.raises(LinkError, match="lent"):
            use()
    assert link.state == "up" and link.counters["tx_frames"] == 0
    link.take_back()
    link.close()
    link.close()
    assert link.state == "closed" and list(link) == []
    with pytest.raises(LinkError, match="closed"):
        link.receive()


@pytest.mark.wires
def test_a_sleeper_is_woken_by_a_frame_and_closing_ends_an_iteration() -> None:
    here, there = links.open("inproc:sleep"), links.open("inproc:sleep")
    heard = []
    thread = threading.Thread(target=lambda: heard.extend(there))
    thread.start()
    for k in range(100):
        here.send(Frame(k))
    while len(heard) < 100 and thread.is_alive():
        pass
    there.close()
    thread.join(5.0)
    here.close()
    assert not thread.is_alive() and [frame.id for frame in heard] == list(range(100))


@pytest.mark.wires
def test_four_senders_in_threads_lose_nothing_and_keep_their_own_order() -> None:
    senders = [links.open("inproc:many", fd=True) for _ in range(4)]
    there = links.open("inproc:many", ring=1 << 16)
    batch = np.zeros(100, FRAME_DTYPE)

    def send(number: int) -> None:
        own = batch.copy()
        own["length"], own["data"][:, 0] = 8, number
        for k in range(50):
            own["id"] = k
            senders[number].send_batch(own)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = np.zeros(20_001, FRAME_DTYPE)
    assert there.receive_batch(taken) == 20_000
    for number in range(4):
        of = taken["id"][:20_000][taken["data"][:20_000, 0] == number]
        assert len(of) == 5000 and (np.diff(of.astype(int)) >= 0).all()
    for link in (*senders, there):
        link.close()
