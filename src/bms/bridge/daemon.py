"""A bridge that runs: links opened, the compiled loop in a thread, exchanged whole on reload."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from bms import _bridge, links
from bms.bridge import ports, table
from bms.bridge.config import REAL, LinkSpec, Plan
from bms.errors import LinkError
from bms.links import Link

RING = 4096
QUANTILES = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
HOPPING = ("inproc", "tunnel", "tunnel-server")


def quantile(bins: list[int], part: float) -> float | None:
    """Upper end, in us, of the bin below which `part` of the counted lie; None without any.

    Bins are a quarter of an octave wide: at most 25 % above the true value."""
    wanted, seen = part * sum(bins), 0
    for k, count in enumerate(bins):
        seen += count
        if count and seen >= wanted:
            if k < 4:
                return float(k + 1)
            octave, quarter = k // 4 + 1, k % 4
            return 2.0**octave * (1 + (quarter + 1) / 4)
    return None


class Bridge:
    """Opens the links of a plan and joins them by its rules until it is closed.

    LinkError when a link cannot be opened here; a far end that is absent is waited for."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._flat, self._guard = table.rules(plan)
        self._links: dict[str, Link] = {}
        self._thread: threading.Thread | None = None
        self._load_at: dict[str, tuple[int, int]] = {}
        self.reloads = self.refused = 0
        self.origin = os.urandom(8)
        """What tunnels call the frames that come from here."""
        self._exchange = threading.Lock()
        try:
            for name in plan.names:
                self._links[name] = self._open(plan, name)
        except Exception:
            for link in self._links.values():
                link.close()
            raise
        self.core = _core(plan, self._links, self._flat, self._guard)
        self._start()

    def _start(self) -> None:
        self.core.resume()
        self._thread = threading.Thread(target=self.core.run, name="bridge", daemon=True)
        self._thread.start()

    def _halt(self) -> None:
        if self._thread is not None:
            self.core.stop()
            self._thread.join()
            self._thread = None

    def reload(self, plan: Plan) -> None:
        """Exchange the plan. Links that stay as they are stay open, with what waits for them, and
        counters go on. ConfigError or LinkError: nothing has changed."""
        try:
            flat, guard = table.rules(plan)
            fresh = self._open_new(plan)
        except Exception:
            self.refused += 1
            raise
        kept = {name: self._links[name] for name in plan.names if name not in fresh}
        old, before = self.core, self.plan
        self._halt()
        old.close()
        with self._exchange:
            self._links = {name: fresh.get(name) or kept[name] for name in plan.names}
            self.core = _core(plan, self._links, flat, guard)
            rules = {rule.name: k for k, rule in enumerate(plan.spec.rule)}
            self.core.adopt(
                old,
                {before.names.index(name): plan.names.index(name) for name in kept},
                {
                    k: rules[rule.name]
                    for k, rule in enumerate(before.spec.rule)
                    if rule.name in rules
                },
            )
            gone = [link for link in old.links if link not in kept.values()]
            self.plan, self.reloads = plan, self.reloads + 1
        self._start()
        for link in gone:
            link.close()

    def _open_new(self, plan: Plan) -> dict[str, Link]:
        fresh: dict[str, Link] = {}
        try:
            for name in plan.names:
                before = self.plan.spec.link.get(name)
                if before is None or _opened_as(before) != _opened_as(plan.spec.link[name]):
                    fresh[name] = self._open(plan, name)
        except Exception:
            for link in fresh.values():
                link.close()
            raise
        return fresh

    def _open(self, plan: Plan, name: str) -> Link:
        return _open(plan, name, self.origin, lambda: self._lost(name))

    def _lost(self, name: str) -> int:
        """Frames towards a link that its port was never given, though the rules let them pass."""
        with self._exchange:
            if not hasattr(self, "core") or name not in self.plan.names:
                return 0
            counts = self.core.link_counts(self.plan.names.index(name))
        return int(counts["dropped_down"] + counts["dropped_full"] + counts["dropped_link"])

    def sayings(self) -> list[dict[str, Any]]:
        """What the ports have to say since the last time."""
        found = []
        for port in self.ports().values():
            while port.sayings:
                found.append(port.sayings.popleft())
        return found

    def ports(self) -> dict[str, ports.Port]:
        """The ends that are no CAN links, by name."""
        return {
            name: link.companion
            for name, link in list(self._links.items())
            if isinstance(link.companion, ports.Port)
        }

    def arm(self, seconds: float) -> float:
        """Let guarded identifiers pass for so long, at most as long as the file allows; 0 ends it.
        Returns the seconds."""
        granted = min(seconds, self.plan.spec.guard.arm_most_s)
        self.core.arm(max(0.0, granted))
        return max(0.0, granted)

    @property
    def is_alive(self) -> bool:
        """The loop made a pass within the last two seconds."""
        late_us = time.monotonic_ns() // 1000 - self.core.alive_us
        return self._thread is not None and self._thread.is_alive() and late_us < 2_000_000

    def link_state(self, name: str) -> tuple[str, str]:
        """State of a link, and why it is not up."""
        return self._links[name].state, self._links[name].reason

    def status(self) -> dict[str, Any]:
        """All there is to know, for JSON. Reads only; call it from one thread."""
        return {
            "title": self.plan.spec.title,
            "file": str(self.plan.path),
            "alive": self.is_alive,
            "up_s": round(1e-6 * (time.monotonic_ns() // 1000 - self.core.started_us), 3),
            "armed_s": round(self.core.armed_s, 1),
            "reloads": self.reloads,
            "reloads_refused": self.refused,
            "delayed": self.core.delayed,
            "links": {name: self._link_status(name) for name in self.plan.names},
            "rules": {
                rule.name: {"action": rule.action, **self.core.rule_counts(k)}
                for k, rule in enumerate(self.plan.spec.rule)
            },
        }

    def _link_status(self, name: str) -> dict[str, Any]:
        number, link, spec = self.plan.names.index(name), self._links[name], self.plan.spec.link
        counts = self.core.link_counts(number)
        bins = counts.pop("latency")
        return {
            "url": link.url,
            "place": link.place,
            "zone": spec[name].zone,
            "state": link.state,
            "reason": link.reason,
            "clients": link.client_count,
            "waiting": self.core.waiting(number),
            "queue": spec[name].queue,
            "load_frac": self._load(name, counts["bits_in"] + counts["bits_out"]),
            "latency": {key: quantile(bins, part) for key, part in QUANTILES.items()},
            "dropped": sum(n for key, n in counts.items() if key.startswith("dropped_")),
            **counts,
            "port": link.companion.details() if isinstance(link.companion, ports.Port) else None,
            "link": link.counters,
        }

    def _load(self, name: str, bits: int) -> float | None:
        """Share of the bit rate since the last question; None where the rate is not known."""
        rate = self.plan.spec.link[name].bitrate_bps or self.plan.places[name].bitrate
        now_us = time.monotonic_ns() // 1000
        at_us, then = self._load_at.get(name, (self.core.started_us, 0))
        self._load_at[name] = (now_us, bits)
        if not rate:
            return None
        return round((bits - then) / (rate * max(1e-6, 1e-6 * (now_us - at_us))), 4)

    def close(self, drain_s: float = 0.0) -> bool:
        """End it. What waits is sent first, for at most `drain_s`; True if nothing was left."""
        if self._thread is not None and drain_s > 0.0:
            self.core.drain()
            self._thread.join(drain_s)
        self._halt()
        left = self.core.delayed + sum(self.core.waiting(k) for k in range(len(self._links)))
        self.core.close()
        for link in self._links.values():
            link.close()
        return left == 0

    def __enter__(self) -> Bridge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _opened_as(spec: LinkSpec) -> tuple[object, ...]:
    return spec.url, spec.fd, spec.listen_only, spec.bitrate_bps, repr(spec.options)


def _open(
    plan: Plan, name: str, origin: bytes = b"\0" * 8, lost: Callable[[], int] = lambda: 0
) -> Link:
    spec, place = plan.spec.link[name], plan.places[name]
    try:
        if place.kind in ports.KINDS:
            context = plan.context(name, origin=origin, lost=lost)
            return ports.attach(context, listen_only=spec.listen_only, ring=RING)
        return links.open(
            place, bitrate=spec.bitrate_bps or None, fd=spec.fd, listen_only=spec.listen_only,
            patient=True, ring=RING,
        )  # fmt: skip
    except LinkError as error:
        raise LinkError(f"link.{name}: {error}") from None


def _core(
    plan: Plan, opened: dict[str, Link], flat: list[dict[str, Any]], guard: list[tuple[int, int]]
) -> _bridge.Core:
    core = _bridge.Core()
    zones: dict[str, int] = {}
    for number, name in enumerate(plan.names):
        spec, place = plan.spec.link[name], plan.places[name]
        zone = zones.setdefault(spec.zone, len(zones)) if spec.zone else 100 + number
        rate = spec.bitrate_bps or place.bitrate
        data_rate = spec.data_bitrate_bps or place.data_bitrate
        core.add_link(
            opened[name], zone=zone, policy=_bridge.POLICIES[spec.full], capacity=spec.queue,
            bit_ns=round(1e9 / rate) if rate else 0,
            data_bit_ns=round(1e9 / data_rate) if data_rate else 0,
            paced=spec.paced, real=place.kind in REAL if spec.real is None else spec.real,
            hops=place.kind in HOPPING,
        )  # fmt: skip
    core.set_rules(flat, guard)
    core.announce(table.announced(plan))
    return core
