"""Prometheus text at http://HOST:PORT/metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any

from bms import _bridge
from bms.bridge.config import Plan, address
from bms.errors import LinkError
from bms.links import COUNTERS

PATIENCE_S = 2.0
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


class MetricsServer:
    """Listens where the plan says until its `with` is left."""

    def __init__(self, plan: Plan, status: Callable[[], dict[str, Any]]):
        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE_S

            def do_GET(self) -> None:
                found = self.path.split("?")[0] == "/metrics"
                body = text(status()).encode() if found else b"/metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        class Server(HTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that went away, or spoke nonsense, is no event."""

        host, port = address(plan.path, "service.metrics", plan.spec.service.metrics)
        try:
            self._server = Server((host, port), Handler)
        except OSError as error:
            raise LinkError(f"metrics at {host}:{port}: {error.strerror}") from None
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="bridge metrics", daemon=True
        )

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
