"""Prometheus text at http://HOST:PORT/metrics."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from bms import _bridge
from bms.bridge.config import Plan, address
from bms.errors import LinkError
from bms.links import COUNTERS

PATIENCE_S = 2.0
CLIENTS = 16
REQUEST_MOST = 8192
POLL_MS = 200
END = b"\r\n\r\n"
STATES = ("waiting", "connecting", "up", "closed")


def text(status: dict[str, Any]) -> str:
    """A status as Prometheus text, format 0.0.4."""
    return "\n".join(_lines(status)) + "\n"


def _label(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _family(
    name: str, kind: str, help_: str, samples: list[tuple[str, str, float | None]]
) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"
    yield from (f"{name}{{{labels}}} {value}" for labels, _, value in samples if value is not None)


def _lines(status: dict[str, Any]) -> Iterator[str]:
    of_link, of_rule = _bridge.describe()
    yield from _one("bms_bridge_up_seconds", "time since the start", status["up_s"])
    yield from _one("bms_bridge_armed_seconds", "guarded frames may still pass", status["armed_s"])
    yield from _one("bms_bridge_delayed", "frames delayed on purpose", status["delayed"])
    links, rules = status["links"], status["rules"]
    for name, _, meaning in of_link:
        if name not in ("latency", "queue_most"):
            samples = [(f'link="{_label(k)}"', k, v[name]) for k, v in links.items()]
            yield from _family(f"bms_bridge_link_{name}_total", "counter", meaning, samples)
    for name, meaning in COUNTERS.items():
        samples = [(f'link="{_label(k)}"', k, v["link"][name]) for k, v in links.items()]
        yield from _family(f"bms_link_{name}_total", "counter", meaning, samples)
    samples = [
        (f'link="{_label(k)}",what="{_label(what)}"', k, n)
        for k, v in links.items() for what, n in (v["port"] or {}).items()
        if isinstance(n, int | float) and not isinstance(n, bool)
    ]  # fmt: skip
    yield from _family(
        "bms_bridge_port", "untyped", "what an end that is no CAN bus counts, by name", samples
    )
    gauges = {"waiting": "frames in the queue", "queue_most": "frames that have waited at most",
              "clients": "clients of a server", "load_frac": "share of the bit rate"}  # fmt: skip
    for name, meaning in gauges.items():
        samples = [(f'link="{_label(k)}"', k, v[name]) for k, v in links.items()]
        yield from _family(f"bms_bridge_link_{name}", "gauge", meaning, samples)
    samples = [
        (f'link="{_label(k)}",state="{state}"', k, int(v["state"] == state))
        for k, v in links.items() for state in STATES
    ]  # fmt: skip
    yield from _family("bms_bridge_link_state", "gauge", "1 for the state it is in", samples)
    samples = [
        (f'link="{_label(k)}",quantile="{part}"', k, v["latency"][key] and 1e-6 * v["latency"][key])
        for k, v in links.items()
        for key, part in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))
    ]
    yield from _family(
        "bms_bridge_link_latency_seconds", "gauge", "receipt to sending, by quantile", samples
    )
    for name, _, meaning in of_rule:
        samples = [(f'rule="{_label(k)}"', k, v[name]) for k, v in rules.items()]
        yield from _family(f"bms_bridge_rule_{name}_total", "counter", meaning, samples)


def _one(name: str, help_: str, value: float) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} gauge"
    yield f"{name} {value}"


class _Client:
    """A connection: what it asked, then what it has not yet been given."""

    def __init__(self, connection: socket.socket):
        connection.setblocking(False)
        self.connection = connection
        self.until_s = time.monotonic() + PATIENCE_S
        self.asked, self.answer = b"", b""

    def move(self, answer: Callable[[bytes], bytes]) -> bool:
        """Read or write what is possible; False when it is over. OSError likewise."""
        if not self.answer:
            data = self.connection.recv(REQUEST_MOST)
            self.asked += data
            if END not in self.asked:
                return bool(data) and len(self.asked) < REQUEST_MOST
            self.answer = answer(self.asked)
        self.answer = self.answer[self.connection.send(self.answer) :]
        return bool(self.answer)


class MetricsServer:
    """Listens where the plan says until its `with` is left.

    One thread and CLIENTS connections at most: nobody is waited for, who takes longer than
    PATIENCE_S is cut off, and where all places are taken the one that came first gives way."""

    def __init__(self, plan: Plan, status: Callable[[], dict[str, Any]]):
        self._status = status
        host, port = address(plan.path, "service.metrics", plan.spec.service.metrics)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise LinkError(f"metrics at {host}:{port}: {error.strerror}") from None
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._clients: dict[int, _Client] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="bridge metrics", daemon=True)

    @property
    def client_count(self) -> int:
        """Connections at this moment."""
        return len(self._clients)

    def _answer(self, asked: bytes) -> bytes:
        words = asked.split(b"\r\n")[0].split()
        found = len(words) == 3 and words[0] == b"GET" and words[1].split(b"?")[0] == b"/metrics"
        body = text(self._status()).encode() if found else b"/metrics\n"
        head = (
            f"HTTP/1.0 {'200 OK' if found else '404 Not Found'}\r\n"
            "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it left again, or descriptors have run out
            self._stopping.wait(1e-3 * POLL_MS)
            return
        if len(self._clients) >= CLIENTS:
            self._drop(next(iter(self._clients)))
        self._clients[connection.fileno()] = _Client(connection)

    def _drop(self, fd: int) -> None:
        self._clients.pop(fd).connection.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            for fd, client in self._clients.items():
                poll.register(fd, select.POLLOUT if client.answer else select.POLLIN)
            ready = {fd for fd, _ in poll.poll(POLL_MS)}
            now_s = time.monotonic()
            for fd, client in list(self._clients.items()):
                goes_on = now_s < client.until_s
                if goes_on and fd in ready:
                    try:
                        goes_on = client.move(self._answer)
                    except OSError:
                        goes_on = False
                if not goes_on:
                    self._drop(fd)
            if self._listener.fileno() in ready:
                self._accept()

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        for fd in list(self._clients):
            self._drop(fd)
        self._listener.close()
