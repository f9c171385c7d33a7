"""The bridge: SLCAN between pseudo-terminals, latency, two full buses, a link that is cut.

Throughput and latency: two pseudo-terminals, ten rules, eight bytes of data; the peer is what
python-can's `can_bridge` does (a Notifier on each bus that sends on the other), the limit a plain
forwarder in C that copies bytes and knows nothing of frames, compiled here if there is a compiler,
else a loop without rules (bms.links.Join). Two buses: each full at 1 Mbit/s by the clock, both ways
at once, sequence numbers in the data. Senders are in this process too, so the share of a core is
that of the bridge and of both testers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bms import _links, links
from bms.bench import Row
from bms.bridge import Bridge, load

FRAMES, PEER_FRAMES = 300_000, 3_000
PINGS = 1_000
LINE = b"t1238" + b"0123456789ABCDEF" + b"\r"
PEER = "python-can can_bridge"
LIMIT = "plain C forwarder: copies bytes, no frames, no rules"
LIMIT_WITHOUT_COMPILER = "bms.links.Join: copies frames without rules"
FORWARDER = r"""
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char bytes[65536];
    struct pollfd ends[2];
    for (int k = 0; k < 2 && argc == 3; k++) {
        struct termios line;
        ends[k] = (struct pollfd){.fd = open(argv[1 + k], O_RDWR | O_NOCTTY), .events = POLLIN};
        if (tcgetattr(ends[k].fd, &line) != 0) {
            return 1;
        }
        cfmakeraw(&line);
        tcsetattr(ends[k].fd, TCSANOW, &line);
    }
    while (argc == 3 && poll(ends, 2, -1) > 0) {
        for (int k = 0; k < 2; k++) {
            ssize_t n = ends[k].revents != 0 ? read(ends[k].fd, bytes, sizeof bytes) : 0;
            if (n < 0) {
                return 0;
            }
            for (ssize_t at = 0, put = 0; at < n; at += put) {
                put = write(ends[1 - k].fd, bytes + at, (size_t)(n - at));
                if (put < 0) {
                    return 0;
                }
            }
        }
    }
    return 0;
}
"""
BUSES_S, BUSES_LONG_S = 10.0, 600.0
FULL_FPS = 8_500  # eight bytes, 11-bit identifier, 1 Mbit/s
CUTS, CUTS_LONG = 10, 1000
RULES = (
    "".join(
        f'[[rule]]\nname = "no {k}"\nid = ["0x{0x400 + 16 * k:X}-0x{0x40F + 16 * k:X}"]\n'
        'action = "drop"\n'
        for k in range(9)
    )
    + '[[rule]]\nname = "all"\n'
)


@contextlib.contextmanager
def bridge_of(urls: tuple[str, str], more: str = "") -> Iterator[Bridge]:
    """A bridge between two URLs by ten rules."""
    text = "".join(
        f'[link.{n}]\nurl = "{url}"\n{more}\n' for n, url in zip("ab", urls, strict=True)
    )
    with tempfile.TemporaryDirectory(prefix="bms-") as folder:
        path = Path(folder) / "bench.toml"
        path.write_text(text + RULES)
        with Bridge(load(path)) as bridge:
            yield bridge


@contextlib.contextmanager
def terminals() -> Iterator[tuple[tuple[int, int], tuple[str, str]]]:
    """Two pseudo-terminals: masters, devices."""
    (one, a), (two, b) = _links.serial_pty(), _links.serial_pty()
    try:
        yield (one, two), (f"slcan:{a}", f"slcan:{b}")
    finally:
        os.close(one)
        os.close(two)


def _carry(masters: tuple[int, int], count: int) -> float:
    """Frames a second from one master to the other; NaN when some are missing."""
    data = LINE * 90

    def write() -> None:
        left = count
        while left > 0:
            n = min(left, 90)
            view = memoryview(data[: n * len(LINE)])
            while view:
                view = view[os.write(masters[0], view) :]
            left -= n

    for fd in masters:
        os.set_blocking(fd, True)
    time.sleep(0.5)  # what is said while a link opens is no frame
    os.set_blocking(masters[1], False)
    with contextlib.suppress(BlockingIOError):
        os.read(masters[1], 65536)
    writer = threading.Thread(target=write, daemon=True)
    began = time.perf_counter()
    writer.start()
    seen, end = 0, began + 60.0
    while seen < count and time.perf_counter() < end:
        try:
            seen += os.read(masters[1], 65536).count(b"\r")
        except BlockingIOError:
            time.sleep(0.0002)
    took = time.perf_counter() - began
    return seen / took if seen == count else float("nan")


def _waiting(urls: tuple[str, str]) -> contextlib.AbstractContextManager[Bridge]:
    return bridge_of(urls, 'full = "wait"')


Between = Callable[[tuple[str, str]], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def _limit() -> Iterator[tuple[Between, str]]:
    """What joins two URLs at the limit, and its name."""

    def join(urls: tuple[str, str]) -> links.Join:
        return links.Join(*(links.open(url, patient=True) for url in urls))

    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    with tempfile.TemporaryDirectory(prefix="bms-") as folder:
        program = Path(folder) / "forwarder"

        @contextlib.contextmanager
        def forward(urls: tuple[str, str]) -> Iterator[None]:
            places = [url.removeprefix("slcan:") for url in urls]
            with subprocess.Popen([program, *places]) as process:
                try:
                    yield
                finally:
                    process.kill()

        (source := program.with_suffix(".c")).write_text(FORWARDER)
        words = [compiler or "", "-std=c99", "-O2", str(source), "-o", str(program)]
        if compiler and subprocess.run(words, capture_output=True).returncode == 0:
            yield forward, LIMIT
        else:
            yield join, LIMIT_WITHOUT_COMPILER


@contextlib.contextmanager
def _python_can(urls: tuple[str, str]) -> Iterator[None]:
    import can

    buses = [
        can.Bus(interface="slcan", channel=url.removeprefix("slcan:"), bitrate=500000,
                sleep_after_open=0)
        for url in urls
    ]  # fmt: skip
    notifiers = [
        can.Notifier(buses[0], [buses[1].send]), can.Notifier(buses[1], [buses[0].send])
    ]  # fmt: skip
    try:
        yield
    finally:
        for notifier in notifiers:
            notifier.stop()
        for bus in buses:
            bus.shutdown()


def _through(between: Between, count: int) -> float:
    with terminals() as (masters, urls), between(urls):
        return _carry(masters, count)


def _ping(between: Between) -> tuple[float, float]:
    """Median and 99 % quantile in us of one frame on its way, one each millisecond."""
    took_us = []
    with terminals() as (masters, urls), between(urls):
        time.sleep(0.5)
        os.set_blocking(masters[1], False)
        with contextlib.suppress(BlockingIOError):
            os.read(masters[1], 65536)
        os.set_blocking(masters[1], True)
        for _ in range(PINGS):
            began = time.perf_counter_ns()
            os.write(masters[0], LINE)
            data = b""
            while not data.endswith(b"\r"):
                data += os.read(masters[1], 256)
            took_us.append(1e-3 * (time.perf_counter_ns() - began))
            time.sleep(0.001)
    return float(np.quantile(took_us, 0.5)), float(np.quantile(took_us, 0.99))


def slcan_rows(repetitions: int) -> list[Row]:
    """Throughput and latency, in turns."""
    fps: dict[str, list[float]] = {"ours": [], "limit": []}
    with _limit() as (between, limit_source):
        for _ in range(repetitions):
            fps["ours"].append(_through(_waiting, FRAMES))
            fps["limit"].append(_through(between, FRAMES))
        peer = _through(_python_can, PEER_FRAMES)
        pings = {"ours": _ping(bridge_of), "limit": _ping(between), "peer": _ping(_python_can)}
    rows = [
        Row(name="slcan_lossless_fps", ours=max(fps["ours"]), unit="1/s", better="higher",
            peer=peer, peer_name=PEER, limit=max(fps["limit"]), limit_source=limit_source)
    ]  # fmt: skip
    return rows + [
        Row(name=f"latency_{name}_us", ours=pings["ours"][k], unit="us", better="lower",
            peer=pings["peer"][k], peer_name=PEER, limit=pings["limit"][k],
            limit_source=limit_source)
        for k, name in enumerate(("p50", "p99"))
    ]  # fmt: skip


def two_buses(seconds: float) -> list[Row]:
    """Both ways at the rate of a full bus; loss and order by the numbers in the data."""
    lost = [0, 0]
    urls = ("inproc:bench-left", "inproc:bench-right")
    pace = "bitrate_bps = 1000000\nqueue = 4096"
    with contextlib.ExitStack() as stack:
        bridge = stack.enter_context(bridge_of(urls, pace))
        ends = [stack.enter_context(links.open(url, ring=65536)) for url in urls]
        batch, heard = (np.zeros(4096, links.FRAME_DTYPE) for _ in range(2))
        batch["length"] = 8
        sent, next_ = [0, 0], [0, 0]
        began, cpu = time.perf_counter(), time.process_time()
        until = began + seconds
        while True:
            now = time.perf_counter()
            for k in (0, 1):
                due = min(int((min(now, until) - began) * FULL_FPS) - sent[k], 4096)
                if due > 0:
                    numbers = np.arange(sent[k], sent[k] + due, dtype="<u8")
                    batch["id"][:due] = numbers % 0x400
                    batch["data"][:due, :8] = numbers.view(np.uint8).reshape(-1, 8)
                    sent[k] += ends[k].send_batch(batch[:due])
            for k in (0, 1):
                n = ends[k].receive_batch(heard)
                if n:
                    numbers = np.ascontiguousarray(heard["data"][:n, :8]).view("<u8").ravel()
                    steps = np.diff(numbers.astype(np.int64), prepend=next_[1 - k] - 1)
                    lost[k] += int(np.count_nonzero(steps != 1))
                    next_[1 - k] = int(numbers[-1]) + 1
            if now > until + 0.5:
                break
            time.sleep(0.001)
        spent = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
        status = bridge.status()["links"]
        missing = sum(lost) + sum(sent) - sum(next_)
        slowest = max(status[name]["latency"]["p999_us"] or 0.0 for name in "ab")
    return [
        Row(name="two_buses_lost_frames", ours=float(missing), unit="1", better="lower", limit=0.0,
            limit_source="every frame, each in order"),
        Row(name="two_buses_p999_us", ours=slowest, unit="us", better="lower"),
        Row(name="two_buses_cpu_pct", ours=spent, unit="%", better="lower"),
    ]  # fmt: skip


def reconnects(cuts: int) -> list[Row]:
    """A terminal that goes away `cuts` times: how often a frame came through after it was back."""
    recovered = 0
    with tempfile.TemporaryDirectory(prefix="bms-") as folder:
        place = Path(folder) / "adapter"
        with (
            bridge_of((f"slcan:{place}", "inproc:bench-steady")),
            links.open("inproc:bench-steady") as steady,
        ):
            for k in range(cuts):
                with links.open(f"slcan-server:{place}") as server:
                    end, got = time.monotonic() + 15.0, None
                    while got is None and time.monotonic() < end:
                        server.send(links.Frame(0x10, k.to_bytes(4, "big")))
                        server.service()
                        got = steady.receive(0.02)
                    recovered += got is not None
                while steady.receive(0.02) is not None:
                    pass
    return [
        Row(name="reconnects_recovered", ours=float(recovered), unit="1", better="higher",
            limit=float(cuts), limit_source="every cut")
    ]  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--long", action="store_true", help="ten minutes of two buses, 1 000 cuts")
    parser.add_argument("--seconds", type=float, metavar="S", help="of two full buses")
    parser.add_argument("--cuts", type=int, metavar="N", help="of a link")


def rows(options: argparse.Namespace) -> list[Row]:
    seconds = options.seconds or (BUSES_LONG_S if options.long else BUSES_S)
    cuts = options.cuts or (CUTS_LONG if options.long else CUTS)
    return [*slcan_rows(options.repetitions), *two_buses(seconds), *reconnects(cuts)]
