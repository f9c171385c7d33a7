"""The command line. One module a sub-command; this file finds it, runs it, and says how it ended.

A command is a module `bms/cli/NAME.py`, or one that an installed package registers under the entry
point group `bms.commands`, with

    HELP = "one line"                                        a plain string, read without importing
    def arguments(parser: argparse.ArgumentParser) -> None   its options
    def run(args: argparse.Namespace) -> int                 exit code; heavy imports belong in here

Exit codes: 0 done, 1 failed, 2 bad input, 3 a link, 4 a recording, 130 Ctrl-C, 143 terminated. A
BmsError becomes one message on stderr; any other exception is a defect and keeps its traceback.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

from bms import __version__
from bms.errors import BmsError

GROUP = "bms.commands"
INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141
USAGE = "usage: bms COMMAND [OPTIONS]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with_sigterm = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # not in the main thread: whoever is there looks after signals
        with_sigterm = None
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except BmsError as error:
        print(f"bms: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bms: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more: leave without the complaint that flushing at exit would make.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    finally:
        if with_sigterm is not None:
            signal.signal(signal.SIGTERM, with_sigterm)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends like an exception, so that what is being written gets its end."""
    raise SystemExit(TERMINATED)


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name in ("-V", "--version"):
        print(f"bms {__version__}")
        return 0
    module = _find(name)
    if module is None:
        print(f"bms: there is no command {name!r}{_similar(name)}\n{USAGE}", file=sys.stderr)
        return 2
    text = module.__doc__ or module.HELP
    parser = argparse.ArgumentParser(
        prog=f"bms {name}",
        description=text.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.arguments(parser)
    return int(module.run(parser.parse_args(arguments[1:])) or 0)


def commands() -> dict[str, str]:
    """Own commands and their one-line help, without importing them."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        line = re.search(r'^HELP = "(.*)"$', file.read_text("utf-8"), re.MULTILINE)
        if line:
            found[file.stem.replace("_", "-")] = line[1]
    return found


def plugins() -> dict[str, str]:
    """Commands of other packages: name -> module. Read by hand: importlib.metadata takes 25 ms."""
    found = {}
    for folder in dict.fromkeys(sys.path):
        for file in Path(folder or ".").glob("*.*-info/entry_points.txt"):
            section = ""
            for line in file.read_text("utf-8", "replace").splitlines():
                name, equals, module = line.partition("=")
                if line.startswith("["):
                    section = line.strip("[] ")
                elif equals and section == GROUP:
                    found[name.strip()] = module.strip()
    return found


def _find(name: str) -> ModuleType | None:
    from importlib import import_module

    if name in commands():
        return import_module(f"bms.cli.{name.replace('-', '_')}")
    module = plugins().get(name)
    return import_module(module) if module else None


def _overview() -> str:
    ours, others = commands(), plugins()
    lines = [f"{USAGE}\n", "A pack of solid-state cells and the firmware that looks after it.\n"]
    lines += [f"  {name:12} {text}" for name, text in ours.items()]
    lines += [
        f"  {name:12} {module.split('.')[0]}" for name, module in others.items() if name not in ours
    ]
    lines.append("\nbms COMMAND --help tells more. bms --version")
    return "\n".join(lines)


def _similar(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, [*commands(), *plugins()], 3, 0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""
