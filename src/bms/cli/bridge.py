"""`bms bridge`: joins CAN links by rules, and may be left running.

    bms bridge CONFIG.toml               run it until SIGTERM or Ctrl-C; SIGHUP reads the file again
    bms bridge --dry-run CONFIG.toml     the same, but send nothing: what would the rules do?
    bms bridge check CONFIG.toml         say what is wrong with a file, or what it means
    bms bridge status CONFIG.toml        what the running bridge does (--json; --watch: live)
    bms bridge reload CONFIG.toml        read the file again; a wrong one changes nothing
    bms bridge arm CONFIG.toml --for 60  let commands to contactors pass for so many seconds (0: no)
    bms bridge stop CONFIG.toml          end it
    bms bridge keys PLACE                a key pair for a tunnel: PLACE.key, PLACE.crt
    bms bridge schema                    JSON schema of the file

The log is one JSON object a line. Exit codes: 0 ended as told, 1 the loop hung or a request was
refused, 2 a wrong file or option, 3 a link, port or socket that is taken, or no bridge that
answers. docs/bridge.md is the manual.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "join CAN links by rules: a daemon that may be left running"
ACTIONS = ("run", "check", "status", "reload", "arm", "stop", "keys", "schema")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="[ACTION] CONFIG", help=f"one of {', '.join(ACTIONS)}; a file"
    )
    parser.add_argument("--dry-run", action="store_true", help="receive and judge, send nothing")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after so long")
    parser.add_argument("--json", action="store_true", help="status as one JSON object")
    parser.add_argument("--watch", action="store_true", help="status as a live table")
    parser.add_argument(
        "--for", type=float, default=60.0, dest="for_s", metavar="S", help="arm for so many seconds"
    )


def run(args: argparse.Namespace) -> int:
    from bms.errors import ConfigError

    action, *files = args.words if args.words[0] in ACTIONS else ["run", *args.words]
    if action == "schema":
        return _schema()
    if len(files) != 1:
        raise ConfigError("bms bridge", action, files, "one file")
    path = Path(files[0])
    if action == "keys":
        return _keys(path)
    if action == "run":
        return _run(path, args)
    if action == "check":
        return _check(path)
    return _ask(path, action, args)


def _schema() -> int:
    import msgspec

    from bms.bridge import schema

    print(msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode())
    return 0


def _keys(place: Path) -> int:
    from bms.bridge.ports import keys

    key, cert, maker = keys.make(place)
    print(f"private key  {key}  (0600, made by {maker}): it stays on this machine")
    print(f"certificate  {cert}  goes to the other bridge")
    print(f"fingerprint  {keys.fingerprint(cert)}")
    print("In the file of this bridge, with the certificate of the other one under peers:")
    print('  [link.NAME]\n  url = "tunnel-server:127.0.0.1:29600"  # or "tunnel:HOST:29600"')
    print(f'  options = {{ key = "{key}", cert = "{cert}", peers = ["OTHER.crt"] }}')
    return 0


def _run(path: Path, args: argparse.Namespace) -> int:
    from bms.bridge.serve import Service, plan_of

    plan = plan_of(path, args.dry_run)
    service = Service(plan, lambda: plan_of(path, args.dry_run))
    return service.serve(args.seconds)


def _check(path: Path) -> int:
    from bms.bridge import load
    from bms.bridge.table import rules

    plan = load(path)
    flat, guard = rules(plan)
    for warning in plan.warnings:
        print(f"warning: {warning}")
    for name, link in plan.spec.link.items():
        zone = f"zone {link.zone}" if link.zone else "a zone of its own"
        print(f"link {name}: {link.url}, {zone}, queue {link.queue} ({link.full})")
    for rule, row in zip(plan.spec.rule, flat, strict=True):
        ways = f"{', '.join(rule.source) or 'any'} to {', '.join(rule.to) or 'any'}"
        print(f"rule {rule.name}: {ways}: {_identifiers(row['ranges'])}: {rule.action}")
    print(f"guarded: {_identifiers(guard) if guard else 'nothing'}")
    return 0


def _identifiers(ranges: list[tuple[int, int]]) -> str:
    if not ranges:
        return "any identifier"
    shown = [
        (f"{a & 0x1FFFFFFF:08X}" if a >> 31 else f"{a:03X}")
        + ("" if a == b else f"-{b & 0x1FFFFFFF:08X}" if a >> 31 else f"-{b:03X}")
        for a, b in ranges
    ]
    return ", ".join(shown)


def _ask(path: Path, action: str, args: argparse.Namespace) -> int:
    import sys

    from bms.bridge import load
    from bms.bridge.control import ask, socket_path

    where = socket_path(load(path))
    if action == "status" and args.watch:
        return _watch(where, args.seconds)
    more: dict[str, Any] = {"seconds": args.for_s} if action == "arm" else {}
    reply = ask(where, do=action, **more)
    if not reply.get("ok"):
        print(f"bms: {action} refused: {reply.get('error')}", file=sys.stderr)
        return 1
    if action == "status":
        _show(reply["status"], args.json)
    elif action == "arm":
        print(f"armed for {reply['seconds']:g} s" if reply["seconds"] else "not armed")
    return 0


def _show(status: dict[str, Any], as_json: bool) -> None:
    import msgspec

    if as_json:
        print(msgspec.json.encode(status).decode())
        return
    from rich.console import Console

    Console().print(_picture(status))


def _watch(where: Path, seconds: float | None) -> int:
    import time

    from rich.live import Live

    from bms.bridge.control import ask

    until_s = None if seconds is None else time.monotonic() + seconds
    with Live(auto_refresh=False) as live:
        while until_s is None or time.monotonic() < until_s:
            live.update(_picture(ask(where, do="status")["status"]), refresh=True)
            time.sleep(0.5)
    return 0


def _picture(status: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    armed = f"ARMED for {status['armed_s']:.0f} s more" if status["armed_s"] else "not armed"
    head = Text(f"{status['file']}  up {status['up_s']:.0f} s  {armed}",
                style="bold red" if status["armed_s"] else "bold")  # fmt: skip
    links = Table(box=None, pad_edge=False)
    for column in ("link", "state", "received", "sent", "dropped", "waiting", "load", "p50 us",
                   "p99 us", "reason"):  # fmt: skip
        links.add_column(
            column, justify="left" if column in ("link", "state", "reason") else "right"
        )
    for name, link in status["links"].items():
        load, latency = link["load_frac"], link["latency"]
        cells = [name, link["state"], link["received"], link["sent"], link["dropped"],
                 f"{link['waiting']}/{link['queue']}",
                 "" if load is None else f"{100 * load:.0f} %",
                 latency["p50_us"] or "", latency["p99_us"] or "", link["reason"]]  # fmt: skip
        links.add_row(*map(str, cells), style="" if link["state"] == "up" else "red")
    rules = Table(box=None, pad_edge=False)
    for column in ("rule", "action", "matched", "passed", "dropped", "limited", "changed", "lost"):
        rules.add_column(column, justify="left" if column in ("rule", "action") else "right")
    for name, rule in status["rules"].items():
        keys = ("action", "matched", "passed", "dropped", "limited", "changed", "lost")
        rules.add_row(name, *(str(rule[key]) for key in keys))
    return Group(head, links, rules)
