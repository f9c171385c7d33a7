"""`bms explain NAME`: what a message, signal, diagnosis, pin, state or fault means, and which file
says so.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bms import spec

HELP = "meaning, unit, source and file of a signal, message, diagnosis, pin or fault"

Entry = tuple[str, list[tuple[str, str]]]
"""Headline, and lines of (what, text)."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        help="est_soc_frac, BmsSoc, BmsSoc.SocLow, 0x103, cell_overvoltage, interlock, CEL-01 ...",
    )


def run(args: argparse.Namespace) -> int:
    from bms.errors import ConfigError

    found = explain(args.name)
    if not found:
        close = suggestions(args.name)
        hint = (
            "did you mean " + ", ".join(close) if close else "see docs/signals.md, docs/messages.md"
        )
        raise ConfigError(
            "explain", "NAME", args.name, f"a signal, message, diagnosis, pin or fault; {hint}"
        )
    print("\n\n".join(render(entry) for entry in found))
    return 0


def render(entry: Entry) -> str:
    """An entry as text."""
    headline, lines = entry
    width = max(len(what) for what, _ in lines)
    return "\n".join([headline, *(f"  {what:{width}}  {text}" for what, text in lines if text)])


def explain(name: str) -> list[Entry]:
    """Everything that goes by a name, best first; empty if nothing does. Case does not matter."""
    wanted = name.strip().lower()
    return [entry for names, entry in _catalogue() if wanted in (n.lower() for n in names)]


def suggestions(name: str) -> list[str]:
    """Known names that look like this one, at most five."""
    known = {names[0].lower(): names[0] for names, _ in _catalogue()}
    wanted = name.strip().lower()
    inside = [n for n in known if len(wanted) >= 3 and wanted in n]
    close = difflib.get_close_matches(wanted, known, n=5, cutoff=0.6)
    return [known[n] for n in dict.fromkeys([*close, *inside])][:5]


def _catalogue() -> Iterator[tuple[tuple[str, ...], Entry]]:
    """Every entry with the names it goes by."""
    from bms import spec

    for signal in spec.signals():
        yield (signal.name,), _recorded(signal)
    for diagnosis in spec.diagnoses():
        names = (diagnosis.name, str(diagnosis.id), f"DIAG_{diagnosis.name}")
        yield names, _diagnosis(diagnosis)
    for pin in spec.pins():
        prefix = "PIN_IN_" if pin.direction == "input" else "PIN_OUT_"
        yield (pin.name, prefix + pin.name), _pin(pin)
    for message in spec.database().messages:
        yield (
            (message.name, f"0x{message.frame_id:03X}", f"0x{message.frame_id:X}"),
            _message(message),
        )
        for s in message.signals:
            yield (f"{message.name}.{s.name}", s.name), _wire(message, s)
    for number, word in spec.choices("BmsState", "State").items():
        yield (word,), _state(number, word)
    for fault in _fault_ids():
        yield (fault,), _fault(fault)


def _place(path: Path, text: str) -> str:
    """path:line of the first line that holds a text; relative to the working folder if in it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next((i for i, line in enumerate(lines, 1) if text in line), 1)
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{number}"


def _recorded(signal: spec.Signal) -> Entry:
    from bms import spec

    each = f"one for each of the {signal.count}" if signal.count else "one number"
    scaling = (
        f" x {signal.scale:g} + {signal.offset:g}"
        if (signal.scale, signal.offset) != (1.0, 0.0)
        else ""
    )
    return f"{signal.name}: recorded signal", [
        ("meaning", signal.text),
        ("unit", signal.unit),
        ("kind", signal.kind),
        ("recorded", f"{each}, rate {signal.rate}"),
        ("source", f"{signal.source} of the simulated world{scaling}"),
        ("on the wire", signal.message),
        ("file", _place(spec.SIGNALS, f'name = "{signal.name}"')),
    ]


def _diagnosis(row: spec.Diagnosis) -> Entry:
    from bms import spec

    shown = [
        f"{t} {v} {row.unit}"
        for t, v in zip(("operate", "warn", "trip"), row.thresholds, strict=True)
        if v
    ]
    latched = (
        "until cleared in a workshop"
        if row.service
        else "until a clear request"
        if row.latch
        else "no"
    )
    return f"{row.name}: diagnosis {row.id}, {row.title}", [
        ("raised by", row.trigger),
        ("thresholds", ", ".join(shown)),
        ("tiers", ", ".join(row.tiers)),
        (
            "debounce",
            f"{row.debounce_samples} fresh samples ({row.sample}), at most {row.debounce_ms} ms",
        ),
        ("reaction", f"{row.reaction} (flag: {row.group})"),
        ("latched", latched),
        ("cleared when", row.clear),
        ("budget", f"{row.deadline_ms} ms from fault to decision"),
        (
            "event value",
            f"in {row.unit}" + (f", index of the {row.index}" if row.index != "none" else ""),
        ),
        ("source", row.source),
        ("file", _place(spec.DIAGNOSES, f'name = "{row.name}"')),
    ]


def _pin(pin: spec.Pin) -> Entry:
    from bms import spec

    return f"{pin.name}: digital {pin.direction}", [
        ("meaning", pin.text),
        ("bit", f"{pin.bit} of ecu_pins_{'in' if pin.direction == 'input' else 'out'}_t.digital"),
        ("safe level", str(pin.safe)),
        ("file", _place(spec.PINS, f'name = "{pin.name}"')),
    ]


def _message(message: Any) -> Entry:
    from bms import spec

    period = f"every {message.cycle_time} ms" if message.cycle_time else "when something happens"
    return f"{message.name}: message 0x{message.frame_id:03X}", [
        ("meaning", message.comment or ""),
        ("from", f"{', '.join(message.senders)}, {period}, {message.length} bytes"),
        ("signals", ", ".join(s.name for s in message.signals)),
        ("file", _place(spec.DBC, f"BO_ {message.frame_id} ")),
    ]


def _wire(message: Any, s: Any) -> Entry:
    from bms import spec

    words = ", ".join(f"{number} {word}" for number, word in (s.choices or {}).items())
    recorded = [r.name for r in spec.signals() if r.message == f"{message.name}.{s.name}"]
    step = f"{s.conversion.scale:g} {s.unit or ''}".rstrip()
    sign = "signed" if s.is_signed else "unsigned"
    return f"{message.name}.{s.name}: signal of message 0x{message.frame_id:03X}", [
        ("meaning", s.comment or ""),
        ("unit", s.unit or "1"),
        ("range", f"{s.minimum:g} to {s.maximum:g}, in steps of {step}"),
        ("values", words),
        (
            "place",
            f"bit {s.start}, {s.length} bits, {sign}, little-endian",
        ),
        ("from, to", f"{message.senders[0]}, to {', '.join(s.receivers)}"),
        ("recorded as", ", ".join(recorded)),
        ("file", _place(spec.DBC, f"CM_ SG_ {message.frame_id} {s.name} ")),
    ]


def _state(number: int, word: str) -> Entry:
    from bms import spec

    return f"{word}: state of the BMS", [
        ("number", str(number)),
        ("on the wire", "BmsState.State"),
        ("recorded as", "cmd_state"),
        ("file", _place(spec.DBC, "VAL_ 256 State")),
    ]


def _fault_ids() -> list[str]:
    """Ids of the fault catalogue."""
    from bms import faults

    return list(faults.load())


def _fault(fault: str) -> Entry:
    from bms import faults, spec

    one = faults.fault(fault)
    rows = [row for row in spec.diagnoses() if fault in row.source]
    acts = ", ".join(dict.fromkeys(write.field for write in one.writes))
    asks = f"{one.reaction.replace('_', ' ')} within {one.budget_ms:g} ms"
    return f"{fault}: fault, {one.title}", [
        ("what happens", one.text),
        ("acts on", acts),
        ("left open", one.left_to),
        ("asks for", asks if one.writes else ""),
        *(
            ("answered by", f"{row.name}: {row.title}; {row.reaction} in {row.deadline_ms} ms")
            for row in rows
        ),
        ("file", _place(faults.FOLDER / f"{one.group.lower()}.toml", f'id = "{fault}"')),
    ]
