"""Decoded values to an MQTT broker, with Home Assistant discovery. Publishes, never listens.

    TOPIC/status                 online, or offline when the bridge has gone (its last will)
    TOPIC/MESSAGE                {"Signal": value, ...}, the last of each signal, at most every_s
    TOPIC/cells                  [3.701, 3.702, ...] in volts, unknown ones null; our database only
    DISCOVERY/sensor/NODE/.../config     retained, one for each signal, once it was first heard

The client is paho-mqtt (extra `mqtt`). Values that are not available are null. What a broker misses
while it is away is not kept: the next values follow within every_s.
"""

from __future__ import annotations

import fnmatch
import math
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bms.bridge.ports.base import BATCH, CLOCK, DELAY_LAST_S, Batch, Context, Port, room_for
from bms.errors import ConfigError
from bms.links import Link
from bms.protocols import Malformed, dbc
from bms.protocols.codec import EXTENDED, Codec, load
from bms.protocols.packview import PackView

QUEUED_MOST = 2000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CLASSES = {"V": "voltage", "mV": "voltage", "A": "current", "degC": "temperature", "kW": "power",
           "W": "power", "kPa": "pressure", "kWh": "energy", "Wh": "energy"}  # fmt: skip
UNITS = {"degC": "°C"}
HIDDEN = ("Counter", "Crc")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`messages`: names or patterns of the database. `discovery`: its prefix, "" for none."""

    topic: str = "bms"
    discovery: str = "homeassistant"
    messages: tuple[str, ...] = ("*",)
    every_s: float = 1.0
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca: str = ""


OPTIONS = {"mqtt": Options}


def check(context: Context) -> list[str]:
    """ConfigError for options that cannot be; a warning for a broker that is told in clear."""
    options, key = context.options, f"link.{context.name}.options"
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        raise ConfigError(
            context.file, f"link.{context.name}.url", context.place.text,
            "the client: pip install solid-bms[mqtt]",
        ) from None  # fmt: skip
    for name in ("topic", "discovery"):
        text = getattr(options, name)
        if re.search(r"[#+\s\0]", text) or text[:1] in "/$" * bool(text) or text.endswith("/"):
            raise ConfigError(context.file, f"{key}.{name}", text, "a topic without # + and spaces")
    if not options.topic or not 0.05 <= options.every_s <= 3600.0:
        raise ConfigError(
            context.file, f"{key}.every_s", options.every_s, "a topic, and 0.05 to 3600 s"
        )
    if options.password_file:
        try:
            context.path(options.password_file).read_text()
        except OSError as error:
            raise ConfigError(
                context.file, f"{key}.password_file", options.password_file,
                f"a file with the password in it ({error.strerror})",
            ) from None  # fmt: skip
    if not options.tls and context.place.host not in LOOPBACK:
        return [f"link.{context.name}: values and password go to {context.place.host} in clear"]
    return []


class Mqtt(Port):
    """One client of one broker."""

    COUNTS = ("published", "messages", "not_in_database", "malformed", "sessions", "failures")

    def __init__(self, context: Context, outer: Link, inner: Link):
        super().__init__(context, outer, inner)
        self._codec: Codec = (
            dbc.codec() if context.dbc == "bms" else load(context.path(context.dbc))
        )
        self._view = PackView() if context.dbc == "bms" else None
        self._wanted = {
            name for name in self._codec.messages
            if any(fnmatch.fnmatchcase(name, each) for each in context.options.messages)
        }  # fmt: skip
        self._values: dict[str, dict[str, Any]] = {}
        self._changed: set[str] = set()
        self._told: set[str] = set()
        self._node = re.sub(r"\W", "_", context.options.topic)
        self._client = self._make()
        self.down("not connected yet")

    def _make(self) -> Any:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        options = self.context.options
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        client.max_queued_messages_set(QUEUED_MOST)
        client.reconnect_delay_set(1, int(DELAY_LAST_S))
        client.will_set(f"{options.topic}/status", "offline", retain=True)
        if options.username:
            text = options.password_file
            secret = self.context.path(text).read_text().strip() if text else None
            client.username_pw_set(options.username, secret)
        if options.tls:
            client.tls_set(str(self.context.path(options.ca)) if options.ca else None)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_connect_fail = lambda *_: self.down("no broker answers")
        return client

    def works(self) -> tuple[Callable[[], None], ...]:
        return (self._work,)

    def _connected(self, client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self.down(f"refused: {code}")
            return
        self.counts["sessions"] += 1
        self._told.clear()  # a broker that was set up anew knows nothing
        client.publish(f"{self.context.options.topic}/status", "online", retain=True)
        self.up()

    def _disconnected(self, _c: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if not self.stopping.is_set():
            self.down(f"disconnected: {code}")

    def _work(self) -> None:
        place = self.context.place
        self._client.connect_async(place.host, place.port, keepalive=15)
        self._client.loop_start()
        batch, next_s = room_for(BATCH), 0.0
        try:
            while not self.stopping.is_set():
                frames = self.take(batch)
                self._hear(frames)
                now_s = time.monotonic()
                if now_s >= next_s and self._client.is_connected():
                    next_s = now_s + self.context.options.every_s
                    self._publish()
        finally:
            if self._client.is_connected():
                self._publish()
                last = self._client.publish(
                    f"{self.context.options.topic}/status", "offline", retain=True
                )
                last.wait_for_publish(1.0)
            self._client.disconnect()
            self._client.loop_stop()

    def _hear(self, frames: Batch) -> None:
        for frame in frames:
            number, flags = int(frame["id"]), int(frame["flags"])
            message = self._codec.by_identifier.get(number | (EXTENDED if flags & 1 else 0))
            if flags & 2 or message is None:
                self.counts["not_in_database"] += 1
                continue
            if message.name not in self._wanted:
                continue
            data = frame["data"][: frame["length"]].tobytes()
            values = self._codec.decode(number, data, bool(flags & 1))
            if isinstance(values, Malformed):
                self.counts["malformed"] += 1
                continue
            self.counts["messages"] += 1
            kept = self._values.setdefault(message.name, {})
            kept.update({k: _plain(v) for k, v in values.items() if k not in HIDDEN})
            self._changed.add(message.name)
            if self._view is not None and not flags & 1:
                self._view.hear(time.monotonic(), number, data)

    def _publish(self) -> None:
        for name in sorted(self._changed):
            self._discover(name)
            self._send(name, self._values[name])
        self._changed.clear()
        cells = self._view.cell_voltage_v if self._view is not None else {}
        if cells:
            self._discover_cells(len(cells))
            self._send("cells", [cells.get(k) for k in range(max(cells) + 1)])

    def _send(self, name: str, values: Any) -> None:
        body = msgspec.json.encode(values)
        self._client.publish(f"{self.context.options.topic}/{name}", body)
        self.counts["published"] += 1

    def _discover(self, name: str) -> None:
        message = self._codec.messages[name]
        units = {signal.name: signal.unit or "" for signal in message.signals}
        for signal in self._values[name]:
            self._tell(name, signal, units.get(signal, ""), f"value_json['{signal}']")

    def _discover_cells(self, count: int) -> None:
        for k in range(count):
            self._tell("cells", f"Cell {k + 1}", "V", f"value_json[{k}]")

    def _tell(self, state: str, name: str, unit: str, value: str) -> None:
        options = self.context.options
        identifier = re.sub(r"\W", "_", f"{self._node}_{state}_{name}")
        if not options.discovery or identifier in self._told:
            return
        self._told.add(identifier)
        told: dict[str, Any] = {
            "name": f"{state} {name}" if state != "cells" else name,
            "unique_id": identifier,
            "state_topic": f"{options.topic}/{state}",
            "value_template": "{{ " + value + " }}",
            "availability_topic": f"{options.topic}/status",
            "device": {"identifiers": [self._node], "name": self.context.title or options.topic},
        }
        if unit:
            told["unit_of_measurement"] = UNITS.get(unit, unit)
            told["state_class"] = "measurement"
        if unit in CLASSES:
            told["device_class"] = CLASSES[unit]
            if CLASSES[unit] == "energy":
                del told["state_class"]  # of a store that goes up and down there is none
        topic = f"{options.discovery}/sensor/{self._node}/{identifier}/config"
        self._client.publish(topic, msgspec.json.encode(told), retain=True)

    def details(self) -> dict[str, Any]:
        return {**self.counts, "clock_steps": CLOCK.steps}


def _plain(value: Any) -> Any:
    """For JSON, which has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


PORTS = {"mqtt": Mqtt}
