"""The file of a bridge: links, rules, guard, service.

Everything is checked before anything is opened: keys, types, URLs, names of links, messages and
signals, ranges, listeners. docs/bridge.md explains the keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bms import _bridge
from bms.bridge import ports
from bms.config import NOTHING, convert, load_toml
from bms.errors import ConfigError
from bms.links import CanUrl, parse

Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Millis = Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
Identifier = int | str

REAL = ("socketcan", "slcan", "socketcand", "udp", "python", "tunnel", "tunnel-server",
        "cannelloni", "cannelloni-server")  # fmt: skip
"""Kinds of link behind which a real bus may be, unless the file says otherwise."""
SERVERS = ("socketcand-server", "udp", *ports.SERVERS)
RECORD = "record"
"""Name of the link that `[record]` makes, and of its rule."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LinkSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One link. Frames pass between links of one zone unless a rule drops them, and between zones
    only if a rule lets them. `paced`: sent to at `bitrate_bps` and no faster. `real`: guarded
    identifiers reach it only while the bridge is armed."""

    url: str
    zone: str = ""
    bitrate_bps: Annotated[int, msgspec.Meta(ge=0, le=8_000_000)] = 0
    data_bitrate_bps: Annotated[int, msgspec.Meta(ge=0, le=8_000_000)] = 0
    paced: bool = False
    fd: bool = False
    listen_only: bool = False
    queue: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 1024
    full: Literal["newest", "oldest", "urgent", "wait"] = "oldest"
    real: bool | None = None
    open_to_network: bool = False
    options: dict[str, Any] = {}


class ByteSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One byte to be set: the bits of `mask` of the byte at `at`."""

    at: Annotated[int, msgspec.Meta(ge=0, le=63)]
    value: Byte
    mask: Byte = 255


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payload range: of a signal of the rule's message, in its unit; or of raw bits, counted as
    in a DBC file. Least and most belong to it."""

    signal: str = ""
    start: Annotated[int, msgspec.Meta(ge=0, le=511)] = 0
    bits: Annotated[int, msgspec.Meta(ge=0, le=63)] = 0
    big_endian: bool = False
    signed: bool = False
    least: float = float("-inf")
    most: float = float("inf")


class RemapSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bits of the identifier that are replaced: all, or those of `mask`."""

    id: Annotated[int, msgspec.Meta(ge=0, le=0x1FFFFFFF)]
    mask: Annotated[int, msgspec.Meta(ge=0, le=0x1FFFFFFF)] = 0x1FFFFFFF


class ImpairSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of a bad path, on purpose, drawn from the bridge's seed."""

    loss_frac: Fraction = 0.0
    duplicate_frac: Fraction = 0.0
    corrupt_frac: Fraction = 0.0
    reorder_frac: Fraction = 0.0
    reorder_ms: Millis = 10.0
    delay_ms: Millis = 0.0
    jitter_ms: Millis = 0.0
    cut_every_s: Seconds = 0.0
    cut_for_s: Seconds = 0.0


class RuleSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: what it applies to, what it does, and whether that is the end (pass, drop)."""

    name: str
    source: list[str] = msgspec.field(name="from", default_factory=list)
    to: list[str] = []
    id: list[Identifier] = []
    id_mask: Annotated[int, msgspec.Meta(ge=0, le=0x1FFFFFFF)] = 0
    id_value: Annotated[int, msgspec.Meta(ge=0, le=0x1FFFFFFF)] = 0
    message: list[str] = []
    extended: bool | None = None
    fd: bool | None = None
    remote: bool | None = None
    length: tuple[int, int] = (0, 64)
    where: list[FieldSpec] = []
    action: Literal["pass", "drop", "continue"] = "pass"
    remap: RemapSpec | None = None
    bytes: list[ByteSpec] = []
    set: dict[str, float | str] = {}
    e2e: bool = False
    e2e_data_id: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    rate_per_s: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    latest: bool = False
    impair: ImpairSpec | None = None


class GuardSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identifiers that command contactors. They reach a real bus only while the bridge is armed.
    `message`: those of our own database unless given. `announce`: the identifier under which every
    bus is told while it is armed, 0 for none."""

    id: list[Identifier] = []
    message: list[str] | None = None
    arm_most_s: Annotated[float, msgspec.Meta(gt=0.0, le=86400.0)] = 600.0
    announce: Identifier = 0x1FFFFF01


class ServiceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Control socket, metrics, log. Empty: none (control: a path made of the file's name)."""

    control: str = ""
    metrics: str = ""
    open_to_network: bool = False
    drain_s: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 1.0


class RecordSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file into which every frame of every link goes as it came: see log-out. Empty: none."""

    file: str = ""
    size_mb: Annotated[float, msgspec.Meta(ge=0.0)] = 64.0
    keep: Annotated[int, msgspec.Meta(ge=0)] = 8


class BridgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole file."""

    link: dict[str, LinkSpec]
    rule: list[RuleSpec] = []
    guard: GuardSpec = GuardSpec()
    service: ServiceSpec = ServiceSpec()
    record: RecordSpec = RecordSpec()
    title: str = ""
    dbc: str = "bms"
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1


class Plan(msgspec.Struct, frozen=True):
    """A file that was read and found right."""

    path: Path
    spec: BridgeSpec
    places: dict[str, CanUrl]
    warnings: list[str]
    options: dict[str, Any] = {}

    @property
    def names(self) -> list[str]:
        """Links in the order of the file: their numbers in the loop."""
        return list(self.spec.link)

    def context(self, name: str, **more: Any) -> ports.Context:
        """What the port of a link is told."""
        spec = self.spec
        return ports.Context(
            name=name, place=self.places[name], options=self.options[name], file=self.path,
            links=self.names, dbc=spec.dbc, title=spec.title, **more,
        )  # fmt: skip


def load(path: str | Path) -> Plan:
    """Read and check a file; ConfigError says what is wrong with it."""
    path = Path(path)
    spec = _with_record(path, convert(load_toml(path), BridgeSpec, path))
    places: dict[str, CanUrl] = {}
    warnings: list[str] = []
    if not 2 <= len(spec.link) <= _bridge.LINKS:
        raise ConfigError(path, "link", sorted(spec.link), f"2 to {_bridge.LINKS} links")
    if len(spec.rule) > _bridge.RULES:
        raise ConfigError(path, "rule", len(spec.rule), f"at most {_bridge.RULES} rules")
    for name, link in spec.link.items():
        places[name] = _check_link(path, name, link, warnings)
    _check_twice(path, spec)
    for k, rule in enumerate(spec.rule):
        _check_rule(path, spec, f"rule[{k}]", rule)
    rule_names = [rule.name for rule in spec.rule]
    for name in rule_names:
        if rule_names.count(name) > 1:
            raise ConfigError(path, "rule.name", name, "a name of its own for each")
    if spec.service.metrics:
        host, _ = address(path, "service.metrics", spec.service.metrics)
        told = _listening(path, "service", host, spec.service.open_to_network)
        warnings += [told] if told else []
    if spec.dbc != "bms" and not spec.guard.id and not spec.guard.message:
        warnings.append("guard: no identifiers are guarded: any rule may pass contactor commands")
    options = {
        name: ports.options(path, name, places[name], link.options)
        for name, link in spec.link.items()
    }
    plan = Plan(path, spec, places, warnings, options)
    for name in plan.names:
        if places[name].kind in ports.KINDS:
            warnings += ports.check(plan.context(name))
    return plan


def _with_record(path: Path, spec: BridgeSpec) -> BridgeSpec:
    """With the link that `[record]` stands for, and a rule before all others."""
    wanted = spec.record
    if not wanted.file:
        return spec
    if RECORD in spec.link or any(rule.name == RECORD for rule in spec.rule):
        raise ConfigError(path, "record", RECORD, "no link or rule of that name beside [record]")
    link = LinkSpec(
        url=f"log-out:{wanted.file}", queue=8192,
        options={"size_mb": wanted.size_mb, "keep": wanted.keep},
    )  # fmt: skip
    rule = RuleSpec(name=RECORD, to=[RECORD])
    return msgspec.structs.replace(spec, link={**spec.link, RECORD: link}, rule=[rule, *spec.rule])


def _check_link(path: Path, name: str, link: LinkSpec, warnings: list[str]) -> CanUrl:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise ConfigError(path, "link", name, "letters, digits, _ and - (at most 32)")
    try:
        place = ports.parse(link.url) or parse(link.url)
    except ConfigError as error:
        raise ConfigError(path, f"link.{name}.url", link.url, error.expected) from None
    if link.paced and not (link.bitrate_bps or place.bitrate):
        raise ConfigError(path, f"link.{name}.bitrate_bps", NOTHING, "a bit rate to pace by")
    if place.kind in SERVERS:
        told = _listening(path, f"link.{name}", place.host, link.open_to_network)
        warnings += [told] if told else []
    return place


def _listening(path: Path, key: str, host: str, is_open: bool) -> str:
    """A warning for a listener that the network can reach; ConfigError unless that is meant."""
    if host in LOOPBACK:
        return ""
    if not is_open:
        raise ConfigError(
            path, key, host, "127.0.0.1; or open_to_network = true: anyone who reaches it may send"
        )
    return f"{key} listens on {host} without authentication: anyone who reaches it may send"


def _check_twice(path: Path, spec: BridgeSpec) -> None:
    """Two links at one place would be a loop."""
    seen: dict[str, str] = {}
    for name, link in spec.link.items():
        if link.url in seen and not link.url.startswith("slcan-server:?"):
            raise ConfigError(
                path, f"link.{name}.url", link.url,
                f"another place than link.{seen[link.url]}: frames would go round",
            )  # fmt: skip
        seen[link.url] = name


def _check_rule(path: Path, spec: BridgeSpec, key: str, rule: RuleSpec) -> None:
    for end, names in (("from", rule.source), ("to", rule.to)):
        for name in names:
            if name not in spec.link:
                raise ConfigError(path, f"{key}.{end}", name, "one of " + ", ".join(spec.link))
    least, most = rule.length
    if not 0 <= least <= most <= 64:
        raise ConfigError(path, f"{key}.length", list(rule.length), "[least, most] within 0 to 64")
    for what, fields in (("where", rule.where), ("set", rule.set)):
        if len(fields) > _bridge.FIELDS:
            raise ConfigError(path, f"{key}.{what}", len(fields), f"at most {_bridge.FIELDS}")
    if rule.impair and rule.impair.cut_for_s > rule.impair.cut_every_s:
        raise ConfigError(
            path, f"{key}.impair.cut_for_s", rule.impair.cut_for_s, "no more than cut_every_s"
        )
    changes = (rule.remap, rule.bytes, rule.set, rule.e2e, rule.rate_per_s, rule.latest)
    if rule.action == "drop" and (any(changes) or rule.impair):
        raise ConfigError(path, f"{key}.action", "drop", "pass or continue where frames go on")


def address(path: Path, key: str, text: str) -> tuple[str, int]:
    """HOST:PORT; ConfigError for anything else."""
    found = re.fullmatch(r"\[?([^\[\]]+?)\]?:(\d{1,5})", text)
    if not found or int(found[2]) > 65535:
        raise ConfigError(path, key, text, "HOST:PORT, such as 127.0.0.1:9464")
    return found[1], int(found[2])


def schema() -> dict[str, Any]:
    """JSON schema of a file."""
    return msgspec.json.schema(BridgeSpec)
