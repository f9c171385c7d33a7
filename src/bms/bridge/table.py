"""Rules of a file as the flat table of the compiled loop: names become numbers, units raw bits."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bms import _bridge, _links
from bms.bridge.config import FieldSpec, Identifier, ImpairSpec, Plan, RuleSpec
from bms.errors import ConfigError
from bms.protocols import dbc
from bms.protocols.codec import EXTENDED, Codec
from bms.rng import stream_key

Range = tuple[int, int]
Field = tuple[int, int, int, int, int, int]
FLAGS = {"extended": _links.EXTENDED, "fd": _links.CAN_FD, "remote": _links.REMOTE}
GUARDED = ("VcuRequest", "VcuAuthority", "IoOutputs")
"""Messages of our own database that command contactors."""
STANDARD_MOST, EXTENDED_MOST = 0x7FF, 0x1FFFFFFF
RAW_LEAST, RAW_MOST = -(2**63), 2**63 - 1


def codec(plan: Plan) -> Codec:
    """The messages of the file's database."""
    if plan.spec.dbc == "bms":
        return dbc.codec()
    import cantools

    path = plan.path.parent / plan.spec.dbc
    try:
        return Codec(cantools.database.load_file(str(path), strict=False), file=path.name)
    except OSError as error:
        raise ConfigError(
            plan.path, "dbc", plan.spec.dbc, f"a file that can be read ({error.strerror})"
        ) from None
    except (ValueError, cantools.Error) as error:
        text = str(error).splitlines()[0][:100]
        raise ConfigError(
            plan.path, "dbc", plan.spec.dbc, f"a database that cantools reads ({text})"
        ) from None


def rules(plan: Plan) -> tuple[list[dict[str, Any]], list[Range]]:
    """Rules for Core.set_rules, and the guarded identifiers."""
    messages = codec(plan)
    numbers = {name: k for k, name in enumerate(plan.names)}
    flat = [_rule(plan, messages, numbers, k, rule) for k, rule in enumerate(plan.spec.rule)]
    guard = plan.spec.guard
    ours = GUARDED if plan.spec.dbc == "bms" else ()
    named = list(ours) if guard.message is None else guard.message
    ranges = [_range(plan.path, "guard.id", entry, None) for entry in guard.id]
    announced(plan)
    return flat, ranges + _named(plan.path, "guard.message", messages, named)


def announced(plan: Plan) -> int:
    """The identifier under which buses are told that the bridge is armed; 0 for none."""
    wanted = plan.spec.guard.announce
    first, last = _range(plan.path, "guard.announce", wanted, None)
    if first != last:
        raise ConfigError(plan.path, "guard.announce", wanted, "one identifier")
    return first


def _rule(
    plan: Plan, messages: Codec, numbers: dict[str, int], index: int, rule: RuleSpec
) -> dict[str, Any]:
    path, key = plan.path, f"rule[{index}]"
    ranges = [_range(path, f"{key}.id", entry, rule.extended) for entry in rule.id]
    ranges += _named(path, f"{key}.message", messages, rule.message)
    message = _single(messages, rule)
    test = [_test(path, f"{key}.where", message, field) for field in rule.where]
    set_ = [_set(path, f"{key}.set", message, *item) for item in rule.set.items()]
    test += _multiplexer(path, key, message, rule)
    if len(test) > _bridge.FIELDS:
        raise ConfigError(path, f"{key}.where", len(test), "fewer: multiplexers need one too")
    does = _bridge.REMAP * (rule.remap is not None) | _bridge.BYTES * bool(rule.bytes)
    does |= _bridge.SET * bool(set_) | _bridge.E2E * rule.e2e | _bridge.LATEST * rule.latest
    does |= _bridge.LIMIT * (rule.rate_per_s is not None)
    does |= _bridge.IMPAIR * (rule.impair is not None)
    wanted = {name: getattr(rule, name) for name in FLAGS}
    return {
        "from_mask": _mask(numbers, rule.source),
        "to_mask": _mask(numbers, rule.to),
        "ranges": ranges,
        "id_mask": rule.id_mask,
        "id_value": rule.id_value & rule.id_mask,
        "flags_mask": sum(FLAGS[name] for name, value in wanted.items() if value is not None),
        "flags_value": sum(FLAGS[name] for name, value in wanted.items() if value),
        "length": rule.length,
        "verdict": _bridge.VERDICTS[rule.action],
        "does": does,
        "test": test,
        "set": set_,
        "remap": (rule.remap.mask, rule.remap.id & rule.remap.mask) if rule.remap else (0, 0),
        "bytes": [(b.at, b.value, b.mask) for b in rule.bytes],
        "e2e_data_id": _data_id(path, f"{key}.e2e", messages, message, rule),
        "rate_per_s": rule.rate_per_s or 0.0,
        "burst": float(rule.burst),
        "impair": _impair(plan, rule.name, rule.impair),
    }


def _mask(numbers: dict[str, int], names: list[str]) -> int:
    return sum(1 << numbers[name] for name in dict.fromkeys(names or numbers))


def _range(path: Path, key: str, entry: Identifier, extended: bool | None) -> Range:
    """`0x351`, `"0x100-0x1FF"`; extended above 0x7FF or when the rule says so."""
    text = str(entry)
    first_text, _, last_text = text.partition("-")
    try:
        first = int(first_text, 0)
        last = int(last_text, 0) if last_text else first
    except ValueError:
        first = last = -1
    is_extended = extended if extended is not None else last > STANDARD_MOST
    most = EXTENDED_MOST if is_extended else STANDARD_MOST
    if not 0 <= first <= last <= most or (is_extended and extended is None and first <= 0x7FF):
        raise ConfigError(
            path, key, entry, 'an identifier, or "FIRST-LAST", all 11 bits or all 29 bits long'
        )
    plus = EXTENDED if is_extended else 0
    return first + plus, last + plus


def _named(path: Path, key: str, messages: Codec, patterns: list[str]) -> list[Range]:
    found: list[Range] = []
    for pattern in patterns:
        names = fnmatch.filter(messages.messages, pattern)
        if not names:
            raise ConfigError(path, key, pattern, f"a message of {messages.file}, or a pattern")
        for name in names:
            message = messages.messages[name]
            number = message.frame_id + (EXTENDED if message.is_extended_frame else 0)
            found.append((number, number))
    return found


def _single(messages: Codec, rule: RuleSpec) -> Any:
    """The one message a rule is about, or None."""
    names = [n for pattern in rule.message for n in fnmatch.filter(messages.messages, pattern)]
    return messages.messages[names[0]] if len(names) == 1 and not rule.id else None


def _signal(path: Path, key: str, message: Any, name: str) -> Any:
    if message is None:
        raise ConfigError(path, key, name, "`message` with exactly one name, for its signals")
    for signal in message.signals:
        if signal.name == name:
            return signal
    known = ", ".join(signal.name for signal in message.signals)
    raise ConfigError(path, key, name, f"a signal of {message.name}: {known}")


def _place(path: Path, key: str, signal: Any) -> tuple[int, int, int, int]:
    if signal.is_float or signal.length > 63:
        raise ConfigError(path, key, signal.name, "an integer signal of at most 63 bits")
    is_big = signal.byte_order == "big_endian"
    return signal.start, signal.length, int(is_big), int(signal.is_signed)


def _test(path: Path, key: str, message: Any, field: FieldSpec) -> Field:
    if field.signal:
        signal = _signal(path, key, message, field.signal)
        ends = sorted(_raw(signal, value) for value in (field.least, field.most))
        return (*_place(path, key, signal), _clip(math.ceil, ends[0]), _clip(math.floor, ends[1]))
    if not field.bits:
        raise ConfigError(path, key, "", "`signal`, or `start` and `bits`")
    if not field.big_endian and field.start + field.bits > 512:
        raise ConfigError(path, key, field.start, "bits within 64 bytes")
    least, most = _clip(math.ceil, field.least), _clip(math.floor, field.most)
    return field.start, field.bits, int(field.big_endian), int(field.signed), least, most


def _raw(signal: Any, value: float) -> float:
    return (value - float(signal.offset)) / float(signal.scale)


def _clip(way: Callable[[float], int], value: float) -> int:
    if math.isinf(value):
        return RAW_MOST if value > 0 else RAW_LEAST
    slack = 1e-9 * max(1.0, abs(value))  # 0.1 in steps of 0.1 is 1, not 1.0000000000000002
    return int(way(value - slack if way is math.ceil else value + slack))


def _set(path: Path, key: str, message: Any, name: str, value: float | str) -> Field:
    signal = _signal(path, key, message, name)
    if isinstance(value, str):
        words = {str(word): int(number) for number, word in (signal.choices or {}).items()}
        if value not in words:
            raise ConfigError(path, f"{key}.{name}", value, "one of " + ", ".join(words))
        raw = words[value]
    else:
        raw = round(_raw(signal, value))
    least = -(1 << signal.length - 1) if signal.is_signed else 0
    if not least <= raw < least + (1 << signal.length):
        raise ConfigError(path, f"{key}.{name}", value, f"what fits into {signal.length} bits")
    return (*_place(path, key, signal), raw, 0)


def _multiplexer(path: Path, key: str, message: Any, rule: RuleSpec) -> list[Field]:
    """Signals that are not in every frame: the frame must be one that has them."""
    wanted: dict[str, int] = {}
    for name in [field.signal for field in rule.where if field.signal] + list(rule.set):
        signal = _signal(path, key, message, name)
        if signal.multiplexer_ids:
            number = signal.multiplexer_ids[0]
            if wanted.setdefault(signal.multiplexer_signal, number) != number:
                raise ConfigError(path, key, name, "signals that are in one frame together")
    return [
        (*_place(path, key, _signal(path, key, message, name)), number, number)
        for name, number in wanted.items()
    ]


def _data_id(path: Path, key: str, messages: Codec, message: Any, rule: RuleSpec) -> int:
    if not rule.e2e:
        return 0
    if rule.e2e_data_id is not None:
        if len(rule.id) + len(rule.message) != 1 or "-" in str(rule.id):
            raise ConfigError(path, key, True, "a rule about one identifier: it has one counter")
        return rule.e2e_data_id
    if message is None or message.name not in messages.data_ids:
        raise ConfigError(
            path, key, True, "one protected `message`, or one identifier and `e2e_data_id`"
        )
    return messages.data_ids[message.name]


def _impair(plan: Plan, name: str, spec: ImpairSpec | None) -> dict[str, int]:
    if spec is None:
        return {}
    parts = {k: round(getattr(spec, f"{k}_frac") * 2**32)
             for k in ("loss", "duplicate", "reorder", "corrupt")}  # fmt: skip
    millis = {f"{k}_us": round(1e3 * getattr(spec, f"{k}_ms"))
              for k in ("delay", "jitter", "reorder")}  # fmt: skip
    cuts = {f"{k}_us": round(1e6 * getattr(spec, f"{k}_s")) for k in ("cut_every", "cut_for")}
    return {"key": stream_key(plan.spec.seed, f"bridge.{name}"), **parts, **millis, **cuts}
