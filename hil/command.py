"""`bms hil`: run requirements on a rig.

Runs the shipped suite, or the tests you name, and writes one HTML report and JUnit XML. A test of
your own needs nothing but the fixtures of the plugin: docs/tutorials/hil-test.md.

    bms hil                                   every requirement, in virtual time
    bms hil --rig realtime -k contactor       some of them, against a real clock
    bms hil my_tests/ --rig bench.toml        your tests on your rig

Exit codes: 0 all passed, 1 a verdict failed or a requirement has no test, 2 a wrong rig file or
option, 3 a link, 5 no test was chosen, 143 ended by SIGTERM; as pytest otherwise. The last line is
pytest's summary.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
from pathlib import Path
from typing import Any

HELP = "run requirements on a rig: verdicts with measured values, one report"
SUITE = Path(__file__).parent / "suite"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bms hil`."""
    parser.add_argument("tests", nargs="*", metavar="TESTS", help="files or folders; default ours")
    parser.add_argument("--rig", default="sil", metavar="R", help="name or TOML file (default sil)")
    parser.add_argument("-k", metavar="WORDS", help="only tests whose name fits, as in pytest")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="each test N times")
    parser.add_argument("--events", metavar="FILE", help="a JSON line for each test; - is stdout")
    parser.add_argument("--report", metavar="FILE", help="default out/hil-RIG/report.html")
    parser.add_argument("--junit", metavar="FILE", help="default beside the report")
    parser.add_argument(
        "--requirements", metavar="DIR", help="folder of TOML files; gaps fail the run"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (sil only)")


def run(args: argparse.Namespace) -> int:
    """Runs pytest with the plugin; its exit code."""
    from bms_hil import rig

    from bms.errors import BmsError, ConfigError

    try:
        import pytest
    except ImportError:
        raise BmsError("bms hil runs tests with pytest: pip install 'solid-bms[hil]'") from None
    file = rig.load(args.rig)  # refused before anything else happens
    if args.repeat < 1 or args.jobs < 1:
        raise ConfigError("--repeat, --jobs", "", min(args.repeat, args.jobs), "1 or more")
    if args.jobs > 1 and file.kind != "sil":
        raise ConfigError("--jobs", "", args.jobs, "1: only rigs in virtual time run side by side")
    report = Path(args.report or f"out/hil-{Path(args.rig).stem}/report.html")
    asked = ["-k", args.k] if args.k else []
    is_ours = not args.tests
    if is_ours:  # nothing of the project whose folder this happens to run in
        asked += ["-c", "/dev/null", "--rootdir", str(SUITE.parent)]
    folder = args.requirements or (str(rig.FOLDER.parent / "requirements") if is_ours else None)
    if folder:
        asked += ["--hil-requirements", folder]
    if args.events:
        asked += ["--hil-events", args.events]
    if args.events == "-":
        asked += ["-p", "no:terminal"]
    else:
        asked += ["-q"]
    if args.jobs > 1:
        asked += ["-n", str(args.jobs)]

    def end(*_: Any) -> None:
        pytest.exit("ended by SIGTERM", returncode=143)  # a SystemExit would fail one test only

    with contextlib.suppress(ValueError):  # not the main thread: its owner's business
        signal.signal(signal.SIGTERM, end)
    return int(
        pytest.main(
            [
                "-p", "bms_hil.plugin", "-p", "no:cacheprovider",
                "--rig", args.rig, "--hil-rounds", str(args.repeat),
                "--hil-report", str(report), "--hil-keep", str(report.parent / "recordings"),
                "--junit-xml", args.junit or str(report.with_name("junit.xml")),
                *asked, *(args.tests or [str(SUITE)]),
            ]
        )
    )  # fmt: skip
