"""Two bridges joined by the tunnel: time stamps, gaps, and peers that are not let in."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bms import cli, links
from bms.bridge import Bridge, load
from bms.bridge.ports import keys, records
from bms.bridge.ports.base import room_for
from bms.errors import ConfigError
from bms.links import Frame

pytestmark = pytest.mark.wires
numbers = itertools.count()


def until(what: Callable[[], object], timeout_s: float = 15.0) -> bool:
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Relay:
    """A line between two bridges that can be cut; it keeps what the caller said."""

    def __init__(self, to_port: int):
        self.to_port, self.said, self.pairs = to_port, bytearray(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self.listener.accept()
                if not self.is_open:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self.to_port))
                self.pairs.append((here, there))
                for a, b, keep in ((here, there, True), (there, here, False)):
                    threading.Thread(target=self._pump, args=(a, b, keep), daemon=True).start()

    def _pump(self, a: socket.socket, b: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if keep:
                    self.said += data
                b.sendall(data)
        for each in (a, b):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Both ends see the connection end."""
        for pair in self.pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self.pairs.clear()

    def close(self) -> None:
        self.cut()
        self.listener.close()


def config(folder: Path, name: str, url: str, peer: str, bus: str, more: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(
        f'[link.bus]\nurl = "inproc:{bus}"\nzone = "z"\n'
        f'[link.far]\nurl = "{url}"\nzone = "z"\n'
        f'options = {{ key = "{name}.key", cert = "{name}.crt", peers = ["{peer}.crt"] }}\n'
        f'[service]\ncontrol = "{folder / name}.sock"\n{more}'
    )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("left", "right", "stranger"):
        keys.make(tmp_path / name)
    return tmp_path


class Pair:
    """Two bridges, a relay between them, a bus at either end."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack):
        tag = next(numbers)
        buses = [f"tunnel-left-{tag}", f"tunnel-right-{tag}"]
        server = config(folder, "left", "tunnel-server:127.0.0.1:0", "right", buses[0])
        self.left = stack.enter_context(Bridge(load(server)))
        self.port = self.left.ports()["far"].port
        self.relay = Relay(self.port)
        stack.callback(self.relay.close)
        client = config(folder, "right", f"tunnel:127.0.0.1:{self.relay.port}", "left", buses[1])
        self.right = stack.enter_context(Bridge(load(client)))
        self.ends = [stack.enter_context(links.open(f"inproc:{bus}")) for bus in buses]
        assert self.is_up(), (self.left.link_state("far"), self.right.link_state("far"))

    def is_up(self) -> bool:
        sides = (self.left, self.right)
        return until(lambda: all(side.link_state("far")[0] == "up" for side in sides))


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        yield Pair(folder, stack)


def test_frames_of_every_kind_pass_both_ways_in_order(pair: Pair) -> None:
    sent = [Frame(0x300 + k, bytes([k % 256])) for k in range(400)] + [
        Frame(0x18FF50E5, b"long", extended=True), Frame(0x12, remote=True, length=4),
    ]  # fmt: skip
    for here, there in (pair.ends, pair.ends[::-1]):
        for frame in sent:
            here.send(frame)
        got = [there.receive(10.0) for _ in sent]
        assert [str(f) for f in got] == [str(f) for f in sent]
    details = pair.left.status()["links"]["far"]["port"]
    assert details["gaps"] == details["frames_replayed"] == details["frames_malformed"] == 0
    assert details["frames_numbered"] == len(sent)


def test_original_times_come_through_and_are_no_times_of_arrival(
    folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "old.log"
    log.write_text("".join(f"(1500000000.{k:06d}) can0 123#{k:02X}\n" for k in range(50)))
    with contextlib.ExitStack() as stack:
        out = config(folder, "left", "tunnel-server:127.0.0.1:0", "right", "times-l",
                     '[record]\nfile = "got.log"\n')  # fmt: skip
        left = stack.enter_context(Bridge(load(out)))
        port = left.ports()["far"].port
        into = config(folder, "right", f"tunnel:127.0.0.1:{port}", "left", "times-r")
        text = into.read_text().replace('"inproc:times-r"', '"log-in:old.log"\noptions.speed = 0')
        text = text.replace("options.speed = 0", "options = { speed = 0.0, loop = true }")
        into.write_text(text)
        stack.enter_context(Bridge(load(into)))
        got = tmp_path / "got.log"
        assert until(lambda: got.exists() and got.read_text().count("\n") >= 50)
    times = {line.split()[0] for line in got.read_text().splitlines()}
    assert times <= {f"(1500000000.{k:06d})" for k in range(50)} and len(times) == 50


def test_a_cut_is_reported_with_as_many_frames_as_are_missing(pair: Pair) -> None:
    here, there = pair.ends
    for k in range(10):
        here.send(Frame(k))
    assert [f.id for f in (there.receive(10.0) for _ in range(10)) if f] == list(range(10))
    pair.relay.is_open = False
    pair.relay.cut()
    assert until(lambda: pair.left.link_state("far")[0] != "up")
    for k in range(25):
        here.send(Frame(k))
    assert until(lambda: pair.left.status()["links"]["bus"]["received"] == 35)
    pair.relay.is_open = True
    assert pair.is_up()
    here.send(Frame(0x7F))
    got = there.receive(10.0)
    assert got is not None and got.id == 0x7F
    port = pair.right.ports()["far"]
    assert until(lambda: port.counts["gaps"] == 1)
    assert port.counts["frames_missing"] + port.counts["frames_lost_there"] == 25
    said = [s for s in pair.right.sayings() if s["event"] == "tunnel gap"]
    assert len(said) == 1 and said[0]["frames_missing"] + said[0]["frames_lost_there"] == 25


def test_every_one_of_many_cuts_is_recovered_and_the_counts_agree(pair: Pair) -> None:
    here, there = pair.ends
    sent = heard = 0
    port = pair.right.ports()["far"]
    for _ in range(5):
        for _ in range(20):
            here.send(Frame(0x55))
        sent += 20
        before = port.counts["sessions"]
        pair.relay.cut()
        assert until(lambda n=before: port.counts["sessions"] > n) and pair.is_up()
    here.send(Frame(0x66))
    sent += 1
    end = time.monotonic() + 10.0

    def known() -> int:
        return heard + port.counts["frames_missing"] + port.counts["frames_lost_there"]

    while known() < sent and time.monotonic() < end:
        heard += there.receive(0.2) is not None
    assert known() == sent


def test_a_stranger_gets_nothing_and_is_logged_once(pair: Pair, folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(folder / "stranger.crt", folder / "stranger.key")
    got = b""
    for k in range(6):
        with socket.create_connection(("127.0.0.1", pair.port)) as raw:
            raw.settimeout(5.0)
            with contextlib.suppress(OSError):
                if k % 2:
                    raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    while raw.recv(4096):
                        pass
                else:
                    with context.wrap_socket(raw) as made:
                        while data := made.recv(4096):
                            got += data
    port = pair.left.ports()["far"]
    assert until(lambda: port.counts["refused"] == 6) and got == b""
    said = [s for s in pair.left.sayings() if s["event"] == "tunnel refused"]
    assert len(said) == 1 and said[0]["address"] == "127.0.0.1"
    assert pair.is_up() and port.counts["sessions"] == 1


def test_a_recorded_session_opens_nothing(pair: Pair) -> None:
    pair.ends[1].send(Frame(0x111))
    assert pair.ends[0].receive(10.0) is not None
    recorded, port = bytes(pair.relay.said), pair.left.ports()["far"]
    with socket.create_connection(("127.0.0.1", pair.port)) as raw:
        raw.settimeout(5.0)
        with contextlib.suppress(OSError):
            raw.sendall(recorded)
            while raw.recv(4096):
                pass
    assert until(lambda: port.counts["refused"] == 1)
    assert pair.ends[0].receive(0.2) is None and pair.is_up()


class Hand:
    """A peer with the right key, driven by the test."""

    def __init__(self, pair: Pair, folder: Path):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(folder / "right.crt", folder / "right.key")
        raw = socket.create_connection(("127.0.0.1", pair.port))
        raw.settimeout(5.0)
        self.socket, self.parser = context.wrap_socket(raw), records.Parser()
        self.waiting: list[tuple[int, bytes]] = []

    def next(self) -> tuple[int, bytes]:
        while not self.waiting:
            data = self.socket.recv(65536)
            if not data:
                raise OSError("ended")
            self.waiting += self.parser.feed(data)
        return self.waiting.pop(0)

    def meet(self, stream: bytes, echo: bytes | None = None) -> None:
        kind, body = self.next()
        found = records.read_hello(body)
        assert kind == records.HELLO and isinstance(found, records.Hello)
        self.socket.sendall(records.hello(os.urandom(16), stream, time.time_ns()))
        self.socket.sendall(records.message(records.READY, echo or found.nonce))

    def is_cut(self) -> bool:
        try:
            while True:
                self.next()
        except OSError:
            return True


def batch_of(*identifiers: int) -> Any:
    batch = room_for(len(identifiers))
    batch["id"], batch["reserved"] = identifiers, 1
    return batch


def test_a_known_peer_that_replays_is_cut_off(pair: Pair, folder: Path) -> None:
    port, bus, stream = pair.left.ports()["far"], pair.ends[0], os.urandom(16)
    old = Hand(pair, folder)
    old.meet(stream, echo=bytes(16))  # what was said on another day
    assert old.is_cut() and until(lambda: port.counts["refused"] == 1)
    peer = Hand(pair, folder)
    peer.meet(stream)
    text = records.load(0, 0, batch_of(0x21, 0x22), [b"elsewher"])
    peer.socket.sendall(text)
    assert [f.id for f in (bus.receive(10.0), bus.receive(10.0)) if f] == [0x21, 0x22]
    peer.socket.sendall(text)
    assert peer.is_cut() and until(lambda: port.counts["frames_replayed"] == 2)
    assert bus.receive(0.1) is None


def test_what_comes_home_or_crossed_too_many_bridges_goes_no_further(
    pair: Pair, folder: Path
) -> None:
    port, bus = pair.left.ports()["far"], pair.ends[0]
    peer = Hand(pair, folder)
    peer.meet(os.urandom(16))
    tired = batch_of(0x30)
    tired["reserved"] = 4
    peer.socket.sendall(records.load(0, 0, batch_of(0x31), [pair.left.origin]))
    peer.socket.sendall(records.load(1, 0, tired, [b"elsewher"]))
    peer.socket.sendall(records.load(2, 0, batch_of(0x32), [b"elsewher"]))
    got = bus.receive(10.0)
    assert got is not None and got.id == 0x32 and bus.receive(0.1) is None
    assert port.counts["frames_looped"] == 1
    assert pair.left.status()["links"]["far"]["dropped_hops"] == 1


def test_strangers_that_say_nothing_do_not_keep_a_peer_out(pair: Pair) -> None:
    silent = []
    try:
        for _ in range(60):
            silent.append(socket.create_connection(("127.0.0.1", pair.port)))
        port = pair.left.ports()["far"]
        assert until(lambda: port.counts["evicted"] >= 40)
        sessions = port.counts["sessions"]
        pair.relay.cut()
        assert until(lambda: port.counts["sessions"] > sessions) and pair.is_up()
        assert pair.left.status()["links"]["far"]["port"]["pending"] <= 16
    finally:
        for each in silent:
            each.close()


def test_hostile_words_in_place_of_messages_are_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    good = records.load(7, 1, batch_of(*range(20)), [b"elsewher"])
    wrong = read = 0
    for _ in range(20_000):
        raw = bytearray(good)
        for place in rng.integers(0, len(raw), int(rng.integers(1, 6))):
            raw[place] = rng.integers(0, 256)
        parser = records.Parser()
        for kind, body in parser.feed(bytes(raw[: int(rng.integers(1, 8 * len(raw)))])):
            found = records.read_load(body) if kind == records.FRAMES else records.read_hello(body)
            if isinstance(found, records.Load):
                assert (found.frames["length"] <= 64).all() and found.count <= 512
                read += 1
            else:
                wrong += 1
        wrong += bool(parser.error)
    assert wrong > 100 and read > 100


def test_keys_are_private_say_where_they_go_and_are_not_overwritten(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    place = tmp_path / "plant"
    assert cli.main(["bridge", "keys", str(place)]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "plant.key") in said and str(tmp_path / "plant.crt") in said
    assert stat.S_IMODE((tmp_path / "plant.key").stat().st_mode) == 0o600
    assert cli.main(["bridge", "keys", str(place)]) == 2
    secret, cert, maker = keys._by_openssl("other")
    assert b"PRIVATE KEY" in secret and b"CERTIFICATE" in cert and maker == "openssl"
    (tmp_path / "plant.key").chmod(0o644)
    with pytest.raises(ConfigError, match="nobody else can read"):
        load(config(tmp_path, "plant", "tunnel:127.0.0.1:9", "plant", "x"))
