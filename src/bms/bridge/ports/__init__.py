"""Ends of a bridge that are no CAN links: each is a thread at the far end of a private one.

    tunnel:HOST:PORT            another bridge, both known to each other by their keys
    tunnel-server:HOST:PORT     the same, waiting to be called
    cannelloni:HOST:PORT        cannelloni over TCP
    cannelloni-server:HOST:PORT the same, waiting to be called
    log-in:FILE                 frames of a candump, ASC, BLF or MDF 4 log, in their time
    log-out:FILE                a candump, ASC or BLF log, or a recording (any other name)
    mqtt:HOST[:PORT]            decoded values to a broker, with Home Assistant discovery
    face:FACE=WHERE             the pack as a serial BMS (jbd=pty:/run/jbd), as `bms face` has it
    serial:PROTOCOL=DEVICE      answers of a serial BMS or of monitor chips, as CAN frames by a rule

What a kind can be told stands in its `Options`, `[link.NAME.options]` in the file. The compiled
loop sees a link like all others: bounded, with a state and a reason, and gone without harm.
"""

from __future__ import annotations

import itertools
import re
from importlib import import_module
from typing import Any

import msgspec

from bms import _links
from bms.bridge.ports.base import Context, Port
from bms.errors import ConfigError
from bms.links import CanUrl, Link

__all__ = ["KINDS", "OBSERVERS", "SERVERS", "Context", "Port", "attach", "options", "parse"]

MODULES = {
    "tunnel": "tunnel",
    "tunnel-server": "tunnel",
    "cannelloni": "cannelloni",
    "cannelloni-server": "cannelloni",
    "log-in": "logs",
    "log-out": "logs",
    "mqtt": "mqtt",
    "face": "serial",
    "serial": "serial",
}
KINDS = tuple(MODULES)
SERVERS = ("cannelloni-server",)
"""Those that let in whoever comes."""
OBSERVERS = ("log-in", "log-out", "mqtt", "face", "serial")
"""Those behind which no bus is."""
DEFAULT_PORTS = {"mqtt": 1883, "cannelloni": 20000, "cannelloni-server": 20000}
_numbers = itertools.count(1)


def parse(url: str) -> CanUrl | None:
    """What a URL of ours means; None for one that bms.links knows. ConfigError if it is wrong."""
    kind, _, rest = url.partition(":")
    if kind not in KINDS:
        return None
    if kind in ("log-in", "log-out", "face", "serial"):
        if not rest:
            raise ConfigError(url, kind, rest, "a place behind the colon")
        return CanUrl(text=url, kind=kind, name=rest)
    found = re.fullmatch(r"(\[[0-9a-fA-F:.%\w]+\]|[^:\[\]\s/]+)(?::(\d{1,5}))?", rest)
    default = DEFAULT_PORTS.get(kind, 0)
    if not found or not (found[2] or default) or int(found[2] or default) > 65535:
        raise ConfigError(url, "HOST:PORT", rest, "an address and a port: 127.0.0.1:29600")
    return CanUrl(text=url, kind=kind, host=found[1].strip("[]"), port=int(found[2] or default))


def options(path: object, name: str, place: CanUrl, given: dict[str, Any]) -> Any:
    """The options of a link as its kind has them. ConfigError names the one that is wrong."""
    if place.kind not in KINDS:
        if given:
            raise ConfigError(path, f"link.{name}.options", sorted(given), "none for this kind")
        return None
    module = import_module(f"bms.bridge.ports.{MODULES[place.kind]}")
    wanted = module.OPTIONS[place.kind]
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(wanted))
        raise ConfigError(
            path, f"link.{name}.options", given, f"some of {known} ({error})"
        ) from None


def check(context: Context) -> list[str]:
    """What can be said of an end before it is opened: warnings. ConfigError if it cannot be."""
    module = import_module(f"bms.bridge.ports.{MODULES[context.place.kind]}")
    found: list[str] = module.check(context)
    return found


def attach(context: Context, *, listen_only: bool, ring: int) -> Link:
    """A link whose other end is the port that the context describes, at work."""
    module = import_module(f"bms.bridge.ports.{MODULES[context.place.kind]}")
    name = f"/port-{next(_numbers)}"  # no name that a URL could have
    flags = _links.FD | _links.LISTEN_ONLY * listen_only
    outer = Link("python", name=name, options=flags, ring=ring, url=context.place.text)
    inner = Link("inproc", name=name, options=_links.FD, ring=ring, url=context.place.text)
    try:
        port: Port = module.PORTS[context.place.kind](context, outer, inner)
    except Exception:
        outer.close()
        inner.close()
        raise
    outer.companion = port
    port.start()
    return outer
