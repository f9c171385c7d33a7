"""`bms face URL FACE=WHERE...`: the pack in the words that inverters, chargers and apps know.

URL is the CAN bus the BMS is on. A face is a protocol and a place:

    inverter.victron=socketcan:can1   tells on a CAN bus (also inverter.pylontech, inverter.sma)
    elcon=socketcan:can2              commands a charger with the limits of the BMS
    jbd=pty:/tmp/bms-jbd              answers on a new pseudo-terminal, linked to a path
    daly=/dev/ttyUSB0@9600            answers on a serial port (also jk, pylontech)

Several run side by side. A face switches nothing, and is silent when the BMS is.
"""

from __future__ import annotations

import argparse

HELP = "speak inverter, charger and serial BMS protocols for a pack on a CAN bus"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="CAN bus the BMS is on")
    parser.add_argument("faces", nargs="+", metavar="FACE=WHERE")
    parser.add_argument("--seconds", type=float, help="stop after so long; else Ctrl-C")


def run(args: argparse.Namespace) -> int:
    import time

    from bms import links
    from bms.links import faces

    wanted = [faces.parse(text) for text in args.faces]
    with links.open(args.url, listen_only=True) as bus:
        opened = faces.opened(wanted)
        for face in opened:
            port = getattr(face, "port", None)
            print(f"{face.wanted.name}: {port.name if port else face.wanted.where}", flush=True)
        end_s = None if args.seconds is None else time.monotonic() + args.seconds
        try:
            faces.serve(bus, opened, time.monotonic, lambda now: end_s is not None and now >= end_s)
        finally:
            for face in opened:
                face.close()
                counts = ", ".join(f"{n} {what}" for what, n in sorted(face.counts.items()))
                print(f"{face.wanted.name}: {counts or 'nothing happened'}")
    return 0
