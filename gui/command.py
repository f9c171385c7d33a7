"""`bms gui`: see inside a pack, simulated, replayed or live."""

from __future__ import annotations

import argparse

HELP = "the desktop: see inside a pack, simulated, replayed or live"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bms gui`."""
    parser.add_argument("--demo", action="store_true", help="a simulated pack, running at once")
    parser.add_argument("--scenario", help="name or path of a scenario to run")
    parser.add_argument("--pack", help="pack that replaces the scenario's")
    parser.add_argument("--light", action="store_true", help="light instead of dark")


def run(args: argparse.Namespace) -> int:
    """Opens the window and stays until it is closed."""
    import pyqtgraph as pg
    from bms_gui import theme
    from bms_gui.feeds.simulated import SimulatedFeed
    from bms_gui.view import View
    from bms_gui.window import Window

    app = pg.mkQApp("solid-bms")
    chosen = theme.LIGHT if args.light else theme.DARK
    theme.apply(app, chosen)
    feed = None
    if args.demo or args.scenario:
        pack = args.pack or (None if args.scenario else "car_96s1p")
        feed = SimulatedFeed({"scenario": args.scenario or "drive", "pack": pack})
    window = Window(View(feed), chosen)
    window.show()
    return int(app.exec())
