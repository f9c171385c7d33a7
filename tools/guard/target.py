"""Code size and deepest stack of the firmware on a Cortex-M4F, from the compiler's call graph.

    python tools/guard/target.py [--cells 96]

Writes the figures into docs/guard.md. Calls through pointers are joined by hand (POINTED); a call
graph with a cycle, an unknown stack or a pointer that is not in the table is an error.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from page import ROOT, table, write_section

COMPILER = [
    "arm-none-eabi-gcc", "-std=c99", "-Os", "-ffreestanding", "-mcpu=cortex-m4", "-mthumb",
    "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-ffp-contract=off", "-funsigned-char",
    "-fno-short-enums", "-fcallgraph-info=su",
]  # fmt: skip
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes \(([^)]+)\)')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
INDIRECT = "__indirect_call"
POINTED: dict[str, str] = {
    "uds.c": r"session_control|reset|uds_clear_codes|uds_read_codes|uds_read_data|"
    r"security_access|uds_write_data|routine|tester_present",
    "journal.c": r"fill|take",
}
"""Functions reached through a pointer, by the file that calls it."""
HOST_ONLY = ("config_fields.c",)


def sources() -> list[Path]:
    """Every file of the firmware that goes to the target."""
    folder = ROOT / "ext/firmware"
    found = [*sorted(folder.glob("*.c")), *sorted((folder / "generated").glob("*.c"))]
    return [path for path in found if path.name not in HOST_ONLY]


def compile_all(folder: Path, cells: int) -> list[Path]:
    """Objects, with the call graph of each beside it."""
    includes = [
        f"-I{ROOT / 'ext' / place}" for place in ("common", "firmware", "firmware/generated")
    ]
    made = []
    for source in sources():
        made.append(folder / f"{source.stem}.o")
        words = [*COMPILER, f"-DBMS_CELLS_MAX={cells}", *includes, "-c", str(source)]
        subprocess.run([*words, "-o", str(made[-1])], check=True)
    return made


def short(title: str) -> str:
    """Function name of a node: static ones carry their file."""
    return title.rsplit(":", 1)[-1]


def graph(objects: list[Path]) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Stack of each function in bytes, and whom it calls, by title."""
    stack: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for path in objects:
        text = path.with_suffix(".ci").read_text()
        for title, size, kind in NODE.findall(text):
            if "dynamic" in kind and "bounded" not in kind:
                raise ValueError(f"{title}: stack is {kind}")
            stack[title] = int(size)
        for caller, called in EDGE.findall(text):
            calls.setdefault(caller, set()).add(called)
            if called == INDIRECT:
                calls[caller].add(f"{INDIRECT}:{path.stem}.c")
    return stack, calls


def join_pointers(stack: dict[str, int], calls: dict[str, set[str]]) -> None:
    """Calls through pointers become calls of all they can reach."""
    for caller, called in calls.items():
        for mark in [c for c in called if c.startswith(f"{INDIRECT}:")]:
            pattern = re.compile(POINTED[mark.split(":", 1)[1]])
            called |= {title for title in stack if pattern.fullmatch(short(title))}
        calls[caller] = {c for c in called if c in stack}


def deepest(stack: dict[str, int], calls: dict[str, set[str]], root: str) -> tuple[int, list[str]]:
    """Bytes and path of the deepest chain of calls; ValueError for recursion."""
    known: dict[str, tuple[int, list[str]]] = {}

    def visit(title: str, above: tuple[str, ...]) -> tuple[int, list[str]]:
        if title in above:
            raise ValueError(f"recursion: {' '.join(map(short, (*above, title)))}")
        if title not in known:
            below = [visit(c, (*above, title)) for c in calls.get(title, ())]
            size, path = max(below, default=(0, []))
            known[title] = (stack[title] + size, [title, *path])
        return known[title]

    return visit(root, ())


def sizes(objects: list[Path]) -> list[tuple[str, int, int, int]]:
    """(file, code and constants, data, zeroed) in bytes, largest first."""
    words = ["arm-none-eabi-size", *map(str, objects)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in said.splitlines()[1:]]
    found = [(Path(row[5]).stem + ".c", int(row[0]), int(row[1]), int(row[2])) for row in rows]
    return sorted(found, key=lambda row: -row[1])


def state_bytes(folder: Path, cells: int) -> int:
    """sizeof the firmware's state on the target."""
    probe = folder / "probe.c"
    probe.write_text('#include "bms.h"\nconst char state[sizeof(bms_t)] = {1};\n')
    includes = [
        f"-I{ROOT / 'ext' / place}" for place in ("common", "firmware", "firmware/generated")
    ]
    made = folder / "probe.o"
    words = [*COMPILER, f"-DBMS_CELLS_MAX={cells}", *includes, "-c", str(probe), "-o", str(made)]
    subprocess.run(words, check=True)
    said = subprocess.run(
        ["arm-none-eabi-nm", "-S", str(made)], capture_output=True, text=True, check=True
    ).stdout
    return int(next(line.split()[1] for line in said.splitlines() if line.endswith("state")), 16)


def report(cells: int) -> str:
    """The section."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = compile_all(folder, cells)
        stack, calls = graph(objects)
        join_pointers(stack, calls)
        rows = sizes(objects)
        state = state_bytes(folder, cells)
        chains = [
            (f"`{root}`", size, " > ".join(f"`{short(title)}`" for title in path))
            for root in ("ecu_step", "ecu_init")
            for size, path in [deepest(stack, calls, root)]
        ]
    total = sum(row[1] for row in rows)
    version = subprocess.run(
        [COMPILER[0], "-dumpversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return "\n\n".join(
        [
            f"{cells} blocks, arm-none-eabi-gcc {version} -Os, Cortex-M4F: "
            f"**{total / 1024:.1f} KiB** of code and constants, **{state / 1024:.1f} KiB** of "
            f"state in the caller's block (configuration included), "
            f"{sum(r[2] + r[3] for r in rows)} bytes of globals.",
            table(("entry", "deepest stack in bytes", "through"), chains),
            table(("file", "code and constants in bytes"), [(f"`{r[0]}`", r[1]) for r in rows]),
        ]
    )


def main() -> int:
    """Compiles, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=96)
    write_section("target", report(parser.parse_args().cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
