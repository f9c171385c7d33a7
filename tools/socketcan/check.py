"""Our CAN links against the kernel's CAN, can-utils and python-can; run by run.sh in a guest.

Each check prints a line; the first that fails ends the program with its reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import can
import numpy as np

from bms import links
from bms.links import Frame, Link

FD_DATA = bytes(range(64))
FRAMES = {
    "123#0102": Frame(0x123, b"\x01\x02"),
    "18FF50E5#1122334455667788": Frame(
        0x18FF50E5, bytes.fromhex("1122334455667788"), extended=True
    ),
    "055#R4": Frame(0x55, remote=True, length=4),
    "7FF#": Frame(0x7FF),
    "321##0" + FD_DATA[:12].hex().upper(): Frame(0x321, FD_DATA[:12], fd=True),
    "00000001##1" + FD_DATA.hex().upper(): Frame(1, FD_DATA, extended=True, fd=True, brs=True),
}


def until(what: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Waits for it; an assertion when it does not come."""
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def receive(link: Link, count: int) -> list[Frame]:
    """So many frames, or fewer when none comes any more."""
    found = []
    while len(found) < count and (frame := link.receive(5.0)) is not None:
        found.append(frame)
    return found


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def can_utils_hear_us() -> None:
    """candump shows every kind of frame as it was sent."""
    command = ["candump", "-L", "-n", str(len(FRAMES)), "vcan0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dump:
        with links.open("socketcan:vcan0", fd=True) as link:
            until(lambda: listeners("vcan0") >= 2)
            for frame in FRAMES.values():
                assert link.send(frame)
        said, _ = dump.communicate(timeout=20)
    # A newer kernel adds the flag that says "this is CAN FD" (4) to the digit after ##.
    heard = [re.sub("##([45])", lambda m: f"##{int(m[1]) & 3}", line.split()[2])
             for line in said.splitlines()]  # fmt: skip
    assert heard == list(FRAMES), heard


def listeners(interface: str) -> int:
    """Receive entries of an interface in the kernel's lists."""
    with open("/proc/net/can/rcvlist_all", encoding="ascii") as lists:
        return sum(line.split()[:1] == [interface] for line in lists)


def we_hear_can_utils() -> None:
    """cansend arrives, with the kernel's time."""
    with links.open("socketcan:vcan0", fd=True) as link:
        began = time.monotonic()
        for text in FRAMES:
            run("cansend", "vcan0", text)
        heard = receive(link, len(FRAMES))
        assert heard == list(FRAMES.values()), heard
        times = [frame.time_s for frame in heard]
        assert times == sorted(times) and began <= times[0] and times[-1] <= time.monotonic()


def python_can_and_we() -> None:
    """Both ways, CAN FD included."""
    with (
        can.Bus(interface="socketcan", channel="vcan0", fd=True) as bus,
        links.open("socketcan:vcan0", fd=True) as link,
    ):
        for frame in FRAMES.values():
            link.send(frame)
            message = bus.recv(5.0)
            assert message is not None and message.arbitration_id == frame.id
            assert message.is_fd == frame.fd and message.bitrate_switch == frame.brs
            bus.send(message)
            assert link.receive(5.0) == frame


def a_classic_link_stays_classic() -> None:
    """Without fd neither is CAN FD sent nor received."""
    with links.open("socketcan:vcan0") as link:
        assert not link.send(Frame(1, FD_DATA, fd=True))
        assert link.counters["tx_impossible"] == 1
        run("cansend", "vcan0", "123##1AABB")
        run("cansend", "vcan0", "124#AABB")
        assert receive(link, 1) == [Frame(0x124, b"\xaa\xbb")]


def error_frames_arrive() -> None:
    """An error frame is handed on as one, and counted."""
    with links.open("socketcan:vcan0") as link:
        run("cansend", "vcan0", "20000040#0000000000000000")
        (frame,) = receive(link, 1)
        assert frame.error and frame.id == 0x40 and frame.length == 8
        assert link.counters["error_frames"] == 1


def a_burst_keeps_its_order() -> None:
    """Ten thousand frames, none lost, in order."""
    count = 10_000
    batch = np.zeros(500, links.FRAME_DTYPE)
    batch["length"] = 8
    taken = np.zeros(count, links.FRAME_DTYPE)
    with (
        links.open("socketcan:vcan0") as here,
        links.open("socketcan:vcan0", ring=1 << 15) as there,
    ):
        got, began = 0, time.monotonic()
        for k in range(0, count, 500):
            batch["data"][:, :8] = np.arange(k, k + 500, dtype="<u8").view("u1").reshape(-1, 8)
            assert here.send_batch(batch) == 500
            # The kernel itself drops what is more than a thousand behind.
            while got < k + 500 and (more := there.receive_batch(taken[got:], 5.0)):
                got += more
        spent_s = time.monotonic() - began
        assert got == count, (got, here.counters["tx_frames"], there.counters)
        numbers = np.ascontiguousarray(taken["data"][:, :8]).view("<u8")[:, 0]
        assert (numbers == np.arange(count)).all()
    print(f"  {count / spent_s:.0f} frames/s in user-mode Linux")


def a_flood_of_cangen_is_read() -> None:
    """Random frames of all kinds from cangen."""
    with links.open("socketcan:vcan0", fd=True) as link:
        run("cangen", "vcan0", "-m", "-g", "0", "-n", "2000")
        assert len(receive(link, 2000)) == 2000
        assert link.receive() is None


def interfaces_come_and_go() -> None:
    """Down and up, missing and made: the link follows."""
    with links.open("socketcan:vcan1") as link:
        assert link.state == "waiting" and "no such interface" in link.reason
        run("ip", "link", "add", "dev", "vcan1", "type", "vcan")
        run("ip", "link", "set", "vcan1", "up")
        until(lambda: link.service() or link.state == "up")
        run("ip", "link", "set", "vcan1", "down")
        until(lambda: link.service() or link.state != "up")
        assert "down" in link.reason, link.reason
        run("ip", "link", "set", "vcan1", "up")
        until(lambda: link.service() or (link.state == "up" and link.send(Frame(1))))
        run("cansend", "vcan1", "123#01")
        assert receive(link, 1) == [Frame(0x123, b"\x01")]
        run("ip", "link", "del", "vcan1")
        until(lambda: link.service() or link.state != "up")


def the_kernels_own_slcan_joins_our_server() -> None:
    """slcand makes a network interface of our pseudo-terminal."""
    hub = links.Join(links.open("inproc:slcan"), links.open("slcan-server:"))
    with hub, links.open("inproc:slcan") as bus:
        terminal = hub.links[1].place.removeprefix("/dev/")  # slcand puts that in front
        daemon = subprocess.Popen(["slcand", "-F", "-o", "-s6", terminal, "slcan0"])
        until(lambda: os.path.exists("/sys/class/net/slcan0"))
        run("ip", "link", "set", "slcan0", "up")
        with links.open("socketcan:slcan0") as link:
            for text, frame in list(FRAMES.items())[:4]:
                run("cansend", "slcan0", text)
                assert receive(bus, 1) == [frame], text
                bus.send(frame)
                while (heard := link.receive(5.0)) is not None and heard != frame:
                    pass  # our own cansend is heard here as well
                assert heard == frame
        daemon.terminate()
        daemon.wait()


def our_slcan_client_on_an_adapter_of_can_utils() -> None:
    """slcanpty plays the adapter, on a terminal of its own, for vcan0."""
    before = set(os.listdir("/dev/pts"))
    with subprocess.Popen(["slcanpty", "/dev/ptmx", "vcan0"]) as adapter:
        until(lambda: set(os.listdir("/dev/pts")) - before)
        (made,) = set(os.listdir("/dev/pts")) - before
        with (
            links.open(f"slcan:/dev/pts/{made}@500000") as link,
            links.open("socketcan:vcan0") as bus,
        ):
            assert link.wait_up(5.0)
            for text, frame in list(FRAMES.items())[:4]:
                run("cansend", "vcan0", text)
                assert receive(link, 1) == [frame] == receive(bus, 1), text
                if not frame.remote:  # slcanpty makes two of one
                    link.send(frame)
                    assert receive(bus, 1) == [frame]
        adapter.terminate()


def joined_to_tcp() -> None:
    """A kernel bus served to python-can's socketcand client."""
    hub = links.Join(
        links.open("socketcan:vcan0"), links.open("socketcand-server:127.0.0.1:29536/vcan0")
    )
    with hub:
        options = {"interface": "socketcand", "host": "127.0.0.1", "port": 29536}
        with can.Bus(channel="vcan0", **options) as bus, links.open("socketcan:vcan0") as link:
            bus.send(can.Message(arbitration_id=0x123, data=[1, 2], is_extended_id=False))
            assert receive(link, 1) == [Frame(0x123, b"\x01\x02")]
            link.send(Frame(0x18FF50E5, bytes(8), extended=True))
            message = bus.recv(5.0)
            assert message is not None and message.arbitration_id == 0x18FF50E5


CHECKS = (
    can_utils_hear_us, we_hear_can_utils, python_can_and_we, a_classic_link_stays_classic,
    error_frames_arrive, a_burst_keeps_its_order, a_flood_of_cangen_is_read,
    interfaces_come_and_go, the_kernels_own_slcan_joins_our_server,
    our_slcan_client_on_an_adapter_of_can_utils, joined_to_tcp,
)  # fmt: skip


def main() -> None:
    threading.excepthook = lambda args: os._exit(1)
    for check in CHECKS:
        began = time.monotonic()
        check()
        name = re.sub("_", " ", check.__name__)
        print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{len(CHECKS)} checks", flush=True)


if __name__ == "__main__":
    sys.exit(main())
