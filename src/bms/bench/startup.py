"""How long a command line takes to answer: `bms --help`, and `import bms`.

Whole processes, started and awaited. The limit is the same interpreter doing nothing; the peer is
the help of another command line that people of this trade use and that is installed with bms.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from bms.bench import Row, interleaved, seconds

SIDES = {
    "help": ("-c", "from bms.cli import main; main(['--help'])"),
    "import": ("-c", "import bms"),
    "peer": ("-m", "cantools", "--help"),
    "nothing": ("-c", "pass"),
}


def process_s(arguments: Sequence[str]) -> float:
    """Seconds from starting an interpreter with these arguments to its end; it must succeed."""
    command = [sys.executable, *arguments]
    return seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def rows(options: argparse.Namespace) -> list[Row]:
    sides = {name: (lambda words=words: process_s(words)) for name, words in SIDES.items()}
    took_ms = {
        name: 1e3 * spread.median
        for name, spread in interleaved(sides, max(9, options.repetitions)).items()
    }
    source = "the same interpreter with nothing to do, measured in turns with the rest"
    return [
        Row(
            name="help_ms", ours=took_ms["help"], unit="ms", better="lower",
            peer=took_ms["peer"], peer_name="cantools --help",
            limit=took_ms["nothing"], limit_source=source,
        ),
        Row(
            name="import_ms", ours=took_ms["import"], unit="ms", better="lower",
            limit=took_ms["nothing"], limit_source=source,
        ),
    ]  # fmt: skip
