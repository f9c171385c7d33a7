"""`bms gui`: see inside a pack, simulated, replayed or live.

    bms gui                          the start page
    bms gui --demo                   a simulated pack, running at once
    bms gui --scenario soft_short    another one
    bms gui --connect URL            a CAN bus, as everywhere; --dbc F if it is not our own database
    bms gui --open FILE              a recording, or a log: candump, BLF, ASC, MDF 4
    bms gui --rig realtime           pack and firmware as two processes on real wires

F1 in the window lists every key.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the desktop: see inside a pack, simulated, replayed or live"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bms gui`."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--demo", action="store_true", help="a simulated pack, running at once")
    source.add_argument("--scenario", metavar="S", help="name or path of a scenario to run")
    source.add_argument("--connect", metavar="URL", help="a CAN bus: socketcan:can0 ...")
    source.add_argument("--open", metavar="FILE", help="a recording, or a log of a bus")
    source.add_argument("--rig", metavar="RIG", help="realtime: two processes on real wires")
    parser.add_argument("--pack", help="pack that replaces the scenario's, or the rig's")
    parser.add_argument("--seed", type=int, help="of everything random in a simulation")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="times real time")
    parser.add_argument("--dbc", type=Path, metavar="F", help="database of a bus that is not ours")
    parser.add_argument("--bitrate", type=int, metavar="BIT/S", help="of an adapter set by us")
    theme = parser.add_mutually_exclusive_group()
    theme.add_argument("--light", action="store_true", help="light colours")
    theme.add_argument("--dark", action="store_true", help="dark colours")
    parser.add_argument("--fresh", action="store_true", help="forget layouts and what was open")


def word_of(args: argparse.Namespace) -> str:
    """What was asked for, as a word of sources; "" for the start page."""
    for kind in ("scenario", "connect", "open", "rig"):
        if getattr(args, kind):
            return f"{kind}:{getattr(args, kind)}"
    return "demo" if args.demo or args.pack else ""


def run(args: argparse.Namespace) -> int:
    """Opens the window and stays until it is closed."""
    from bms.errors import BmsError

    try:
        import pyqtgraph as pg
    except ImportError as error:
        raise BmsError(f"the desktop needs `pip install solid-bms[gui]` ({error})") from error
    from bms_gui import sources, theme
    from bms_gui.view import View
    from bms_gui.window import Window
    from pyqtgraph.Qt import QtCore

    word = word_of(args)
    app = pg.mkQApp("solid-bms")
    feed = (
        sources.opened(
            word, pack=args.pack, seed=args.seed, speed=args.speed, dbc=args.dbc,
            bitrate=args.bitrate,
        )
        if word
        else None
    )  # fmt: skip
    kept = QtCore.QSettings("solid-bms", "desktop")
    if args.fresh:
        kept.clear()
    name = "light" if args.light else "dark" if args.dark else str(kept.value("theme", "dark"))
    chosen = theme.THEMES.get(name, theme.DARK)
    theme.apply(app, chosen)
    window = Window(View(feed), chosen, kept)
    if word:
        window.remember_source(word)
    window.show()
    return int(app.exec())
