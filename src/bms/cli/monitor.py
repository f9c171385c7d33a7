"""`bms monitor URL`: what a CAN bus carries, decoded through a DBC, live.

    bms monitor socketcand:127.0.0.1:29536/can0
    bms monitor slcan:/dev/ttyACM0@500000 --dbc vehicle.dbc --filter 'Motor*' --filter 0x18FF50E5
    bms monitor udp:127.0.0.1:20000 --json --seconds 5

For every message: rate against its cycle time, how often it was late (after more than 1.5 cycle
times and 10 ms), whether it is missing (silent for 3), the verdict of its end-to-end protection,
its last values. Only listens. --json prints one object a second, or with --seconds or --once one at
the end; its keys are in docs/canbus.md. The bus may come and go: the link says how it is, and is
tried again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bms.canbus.traffic import MessageView, Snapshot, Traffic
    from bms.links import Link

HELP = "live traffic of a CAN bus, decoded, with rates, missing and late messages"
EVERY_S = 1.0
ONCE_S = 1.5  # --once: long enough for what comes each second
BITRATE = 500_000
BATCH = 1024
USUAL = "up"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="CAN bus, as everywhere: socketcan:can0 ...")
    parser.add_argument("--dbc", type=Path, metavar="F", help="describes the frames; else our own")
    parser.add_argument("--json", action="store_true", help="objects, one a line, for scripts")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="stop after so long; else Ctrl-C"
    )
    parser.add_argument("--once", action="store_true", help="look for a moment, tell, and end")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="PATTERN",
        help="only these messages: a name, a pattern or an identifier (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--bitrate", type=int, metavar="BIT/S",
        help=f"of the bus, for its load and for an adapter that is set by us; else {BITRATE}",
    )  # fmt: skip
    parser.add_argument("--fd", action="store_true", help="CAN FD")


def run(args: argparse.Namespace) -> int:
    import sys

    from bms import links
    from bms.canbus.traffic import Traffic
    from bms.errors import ConfigError

    if args.seconds is not None and not args.seconds > 0:
        raise ConfigError("option", "--seconds", args.seconds, "a time above zero")
    if args.bitrate is not None and not args.bitrate > 0:
        raise ConfigError("option", "--bitrate", args.bitrate, "bit/s above zero")
    place = links.parse(args.url)
    traffic = Traffic(
        _codec(args.dbc), tuple(args.filter),
        bitrate_bps=place.bitrate or args.bitrate or BITRATE, data_bitrate_bps=place.data_bitrate,
    )  # fmt: skip
    seconds = ONCE_S if args.once and args.seconds is None else args.seconds
    with links.open(place, bitrate=args.bitrate, fd=args.fd, listen_only=True) as link:
        if args.json:
            return _tell_json(link, traffic, args.url, seconds)
        if sys.stdout.isatty() and not args.once:
            return _show_live(link, traffic, args.url, seconds)
        return _tell_text(link, traffic, args.url, seconds)


def _codec(path: Path | None) -> Any:
    """The compiled codec of a database; ConfigError for a file that is none."""
    from bms.protocols import codec, dbc

    return dbc.codec() if path is None or str(path) == "bms" else codec.load(path)


def _listen(link: Link, traffic: Traffic, until_us: int) -> int:
    """Feed what arrives until a time of the monotonic clock; returns the time. Survives a link that
    is lost."""
    import time

    import numpy as np

    from bms import links
    from bms.errors import LinkError

    batch = np.zeros(BATCH, links.FRAME_DTYPE)
    now_us = time.monotonic_ns() // 1000
    if not traffic.started_us:
        traffic.started_us = now_us
    while now_us < until_us:
        left_s = 1e-6 * (until_us - now_us)
        try:
            count = link.receive_batch(batch, timeout_s=left_s)
        except LinkError:
            count = 0
            time.sleep(min(left_s, 0.1))
        traffic.feed(batch[:count])
        now_us = time.monotonic_ns() // 1000
    return now_us


def _rounds(link: Link, traffic: Traffic, seconds: float | None, every_s: float) -> Any:
    """A Snapshot each `every_s`, the last one at the end of `seconds`."""
    import time

    began_us = time.monotonic_ns() // 1000
    end_us = None if seconds is None else began_us + round(1e6 * seconds)
    due_us = began_us
    while end_us is None or due_us < end_us:
        due_us += round(1e6 * every_s)
        due_us = due_us if end_us is None else min(due_us, end_us)
        now_us = _listen(link, traffic, due_us)
        yield 1e-6 * (now_us - began_us), traffic.snapshot(now_us)


def _tell_json(link: Link, traffic: Traffic, url: str, seconds: float | None) -> int:
    import msgspec

    encoder = msgspec.json.Encoder()
    for time_s, snapshot in _rounds(link, traffic, seconds, seconds or EVERY_S):
        told = {
            "time_s": round(time_s, 3),
            "url": url,
            "link": {"state": link.state, "reason": link.reason, **link.counters},
            "bus": {
                key: getattr(snapshot, key)
                for key in snapshot.__struct_fields__
                if key not in ("messages", "missing", "never_seen")
            },
            "missing": snapshot.missing,
            "never_seen": snapshot.never_seen,
            "messages": snapshot.messages,
        }
        print(encoder.encode(told).decode(), flush=True)
    return 0


def _tell_text(link: Link, traffic: Traffic, url: str, seconds: float | None) -> int:
    """Plain lines, for a pipe: one picture a second, or one at the end of a given time."""
    for time_s, snapshot in _rounds(link, traffic, seconds, seconds or EVERY_S):
        print(f"{time_s:.1f} s  {_headline(link, url, snapshot)}")
        for view in snapshot.messages:
            cells = _cells(view)
            print("  ".join(f"{text:<{width}}" for text, width in zip(cells, WIDTHS, strict=True)))
        for line in _notes(snapshot):
            print(line)
        print(flush=True)
    return 0


COLUMNS = ("id", "message", "count", "rate", "cycle", "late", "state", "e2e", "values")
WIDTHS = (10, 26, 8, 9, 8, 5, 8, 14, 0)


def _show_live(link: Link, traffic: Traffic, url: str, seconds: float | None) -> int:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    console = Console()

    def picture(snapshot: Snapshot | None) -> Any:
        table = Table(box=None, pad_edge=False, expand=True)
        for name in COLUMNS:
            is_number = name in ("count", "rate", "cycle", "late")
            table.add_column(
                name, justify="right" if is_number else "left", no_wrap=True,
                ratio=1 if name == "values" else None, overflow="ellipsis",
            )  # fmt: skip
        for view in snapshot.messages if snapshot else ():
            is_bad = view.missing or (view.e2e or "ok") not in ("ok", "ok_some_lost", "initial")
            style = "red" if is_bad else "yellow" if view.late else ""
            table.add_row(*(Text(text) for text in _cells(view)), style=style)
        head = Text(
            _headline(link, url, snapshot), style="bold" if link.state == USUAL else "bold red"
        )
        notes = [Text(t, style="red", no_wrap=True, overflow="ellipsis") for t in _notes(snapshot)]
        return Group(head, *notes, table)

    with Live(picture(None), console=console, auto_refresh=False, screen=seconds is None) as live:
        for _, snapshot in _rounds(link, traffic, seconds, EVERY_S):
            live.update(picture(snapshot), refresh=True)
    return 0


def _headline(link: Link, url: str, snapshot: Snapshot | None) -> str:
    parts = [f"{url}: {link.state}" + (f" ({link.reason})" if link.reason else "")]
    if snapshot:
        parts.append(f"{snapshot.frames_per_s:.0f} frames/s")
        if snapshot.load_frac is not None:
            parts.append(f"load {100 * snapshot.load_frac:.0f} %")
        counts = {
            "error frames": snapshot.error_frames, "unknown": snapshot.unknown_frames,
            "malformed": snapshot.malformed, "late": snapshot.late,
            "lost here": link.counters["rx_dropped"],
        }  # fmt: skip
        parts += [f"{count} {what}" for what, count in counts.items() if count]
    return "  ".join(parts)


def _notes(snapshot: Snapshot | None) -> list[str]:
    if snapshot is None:
        return []
    told = {"missing": snapshot.missing, "never seen": snapshot.never_seen}
    return [f"{what}: {', '.join(names)}" for what, names in told.items() if names]


def _cells(view: MessageView) -> tuple[str, ...]:
    """The texts of a line, in the order of COLUMNS."""
    return (
        f"{view.id:08X}" if view.extended else f"{view.id:03X}",
        view.name or "?",
        str(view.count),
        f"{view.rate_hz:.1f}/s",
        f"{view.cycle_ms:.0f} ms" if view.cycle_ms else "",
        str(view.late) if view.late else "",
        f"{_span(view.age_ms)}" if view.missing else "",
        (view.e2e or "").replace("_", " ") + (f" {view.e2e_errors}" if view.e2e_errors else ""),
        _values(view),
    )


def _span(milliseconds: float) -> str:
    return f"-{milliseconds:.0f} ms" if milliseconds < 10_000 else f"-{milliseconds / 1000:.0f} s"


def _values(view: MessageView) -> str:
    if not view.values:
        return view.data.upper()
    shown = (pair for pair in view.values.items() if pair[0] not in ("Crc", "Counter"))
    return "  ".join(f"{name} {_value(value, view.units.get(name, ''))}" for name, value in shown)


def _value(value: Any, unit: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return (
        f"{value:.6g} {unit}".rstrip() if isinstance(value, float) else f"{value} {unit}".rstrip()
    )
