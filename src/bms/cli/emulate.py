"""`bms emulate PACK`: the pack with its chips and sensors in real time, on a serial port and CAN.

In one terminal the pack, in another the firmware, in a third a look at the bus:

    bms emulate bench_16s1p
    bms ecu --afe PATH_THAT_EMULATE_PRINTED --can socketcand:127.0.0.1:29536/can0
    bms monitor socketcand:127.0.0.1:29536/can0

Or a real control unit in place of `bms ecu`: --afe /dev/ttyUSB0 --can socketcan:can0. How to wire
it, and what to expect of USB: docs/bench-setup.md.

With one --can all frames share it; with two, the first is the vehicle bus and the second that of
the current sensor and the insulation monitor. Without, a socketcand server is opened at
127.0.0.1:29536. The vehicle of the scenario is part of the emulation.

Ends with Ctrl-C (exit code 130), SIGTERM (143) or --duration (0); the last line is its status.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the pack on real wires: serial port and CAN, in real time"


def arguments(parser: argparse.ArgumentParser) -> None:
    from bms.cli import _key

    parser.add_argument("pack", metavar="PACK", help="name in the library or path of a TOML file")
    parser.add_argument(
        "--afe", default="pty", metavar="pty|DEVICE",
        help="serial line of the monitor chips: a pseudo-terminal (default) or a port",
    )  # fmt: skip
    parser.add_argument("--link", type=Path, metavar="PATH", help="stable path of the pty")
    parser.add_argument(
        "--can", action="append", default=[], metavar="URL", help="CAN link; at most twice"
    )
    parser.add_argument("--scenario", default="drive", metavar="S", help="default drive")
    parser.add_argument("--cell", help="name or path, in place of the pack's")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="change the scenario; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--no-vehicle", action="store_true",
        help="requests come from the bus; the load follows the power they announce",
    )  # fmt: skip
    parser.add_argument("--record", type=Path, metavar="FILE", help="recording, frames included")
    parser.add_argument(
        "--record-cells-hz", type=_cell_rate, default=1.0, metavar="F",
        help="samples a second of every cell (default 1)",
    )  # fmt: skip
    _key.argument(parser)
    common(parser, "inputs of the control unit")


def common(parser: argparse.ArgumentParser, driven: str) -> None:
    """Options that both sides have."""
    parser.add_argument("--duration", type=_positive, metavar="S", help="end after so long")
    parser.add_argument(
        "--pins", metavar="gpiochip:CHIP:LINE=NAME,...", help="pins on real lines; see --arm"
    )
    parser.add_argument(
        "--arm", type=_positive, default=0.0, metavar="S",
        help=f"drive real lines ({driven}) for so long; without it they are not touched",
    )  # fmt: skip
    parser.add_argument(
        "--no-priority", action="store_true", help="do not ask for real-time priority"
    )
    parser.add_argument(
        "--status-json", action="store_true", help="one JSON object a line on stdout"
    )
    parser.add_argument(
        "--control", action="store_true", help="take requests as JSON lines from stdin"
    )


def run(args: argparse.Namespace) -> int:
    from bms.cli import _key
    from bms.cli.run import parse_settings
    from bms.realtime import pins
    from bms.realtime.buses import DEFAULT
    from bms.realtime.emulate import EmulateService, Emulation
    from bms.realtime.service import PRIORITY
    from bms.realtime.status import Control, Teller

    wiring = pins.parse(args.pins, reads="output") if args.pins else None
    emulation = Emulation(
        args.pack, scenario=args.scenario, cell=args.cell, seed=args.seed,
        settings=parse_settings(args.settings), has_vehicle=not args.no_vehicle,
        request_key=_key.of(args.request_key),
    )  # fmt: skip
    service = EmulateService(
        emulation, afe=args.afe, can=args.can or [DEFAULT], teller=Teller(args.status_json),
        link=args.link, record=args.record, cells_every_s=1.0 / args.record_cells_hz,
        pins=wiring, arm_s=args.arm, duration_s=args.duration,
        control=Control() if args.control else None,
    )  # fmt: skip
    service.serve(0 if args.no_priority else PRIORITY)
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds above 0")
    return value


def _cell_rate(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 100.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0.01 to 100")
    return value
