"""`bms ecu`: the firmware as a process, on a serial port and CAN.

    bms ecu --pack bench_16s1p --afe PATH --can socketcand:127.0.0.1:29536/can0

The other side is `bms emulate`, or real hardware: a BQ79616 board on a USB-UART, an IVT-S sensor
and a vehicle on a CAN adapter, contactors on GPIO lines (--pins with --arm). With one --can all
frames share it; with two, the first is the vehicle bus and the second the sensors'.

Pins are the messages IoInputs and IoOutputs on the vehicle bus, or real lines. The ECU is off until
its I/O module has spoken. Ends with Ctrl-C (exit code 130), SIGTERM (143) or --duration (0); the
last line is its status.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the firmware on real wires: serial port and CAN, in real time"


def arguments(parser: argparse.ArgumentParser) -> None:
    from bms.cli import _key
    from bms.cli.emulate import common

    parser.add_argument(
        "--afe", required=True, metavar="DEVICE", help="serial line to the monitor chips"
    )
    parser.add_argument(
        "--can", action="append", required=True, metavar="URL", help="CAN link; at most twice"
    )
    parser.add_argument(
        "--pack", default="bench_16s1p", help="the pack it is configured for (default bench_16s1p)"
    )
    parser.add_argument("--cell", help="name or path, in place of the pack's")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration bytes, in place of --pack"
    )
    parser.add_argument(
        "--line-delay", type=int, metavar="MS",
        help="what the way to the chips and back may add to an answer (default 4; USB: 10)",
    )  # fmt: skip
    parser.add_argument("--firmware", metavar="LIB.so", help="a firmware that fits ecu.h")
    parser.add_argument("--nvm", type=Path, metavar="FILE", help="its memory; made if not there")
    _key.argument(parser)
    common(parser, "coils, fuse")


def run(args: argparse.Namespace) -> int:
    from bms import _firmware
    from bms.cli import _key
    from bms.firmware import library
    from bms.realtime import pins
    from bms.realtime.ecu import EcuService
    from bms.realtime.service import PRIORITY
    from bms.realtime.status import Control, Teller

    wiring = pins.parse(args.pins, reads="input") if args.pins else None
    firmware = library.load(args.firmware) if args.firmware else None
    told = _config(args)
    service = EcuService(
        told,
        firmware.address if firmware else _firmware.api_address(),
        name=firmware.version if firmware else _firmware.version(),
        probes=firmware.probes() if firmware else _firmware.probes(),
        afe=args.afe, can=args.can, teller=Teller(args.status_json), nvm=args.nvm, pins=wiring,
        arm_s=args.arm, duration_s=args.duration, control=Control() if args.control else None,
    )  # fmt: skip
    if args.config is None:
        _key.warn(args.request_key)
    service.serve(0 if args.no_priority else PRIORITY)
    return 0


def _config(args: argparse.Namespace) -> bytes:
    from bms import cells, packs
    from bms.cli import _key
    from bms.errors import ConfigError
    from bms.firmware import config

    if args.config is not None:
        if args.request_key is not None:
            raise ConfigError(args.config, "--request-key", "given", "none: --config holds a key")
        try:
            return bytes(args.config.read_bytes())
        except OSError as error:
            raise ConfigError(args.config, "", error.strerror, "a readable file") from None
    pack = packs.load(args.pack)
    cell = cells.load(args.cell or pack.cell)
    packs.check(pack, cell)
    key = _key.of(args.request_key)
    delay_ms = args.line_delay or config.LINE_DELAY_MS
    return config.build(cell, pack, line_delay_ms=delay_ms, request_key=key)
