"""Coverage of ext/firmware by tests: lines, branches (each condition both ways) and MC/DC.

    python tools/guard/coverage.py [--folder out/coverage] [--counted] [pytest options and tests]

Builds the firmware's modules with clang's instrumentation, runs the tests and a batch of random
stories (`bms fuzz`), counts, and writes the table into docs/guard.md. `--counted` only counts again
what ran before. MC/DC needs clang 18 or newer (`make test-tools`); an older one measures the rest.
What stands in tools/guard/unreachable.toml is excused, line by line and with its reason. Exit code
1 names a place that is neither reached nor excused, and an excuse that is not needed. Only what
runs in Python modules counts: programs of tests/c are built apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import parts
from page import ROOT, ranges, table, write_section

SIMULATED = ("faults_react", "sleep", "closed_loop", "power", "diagnosis_rows")
TESTS = (
    *(f"tests/unit/{part}" for part in ("firmware", "estimator", "leak", "observer")),
    *(f"tests/sim/test_{part}.py" for part in SIMULATED),
)
NOT = (
    "tests/unit/estimator/test_estimator_bits.py::"
    "test_the_shipped_module_holds_a_copy_for_each_instruction_set"
)
"""A build that counts has one copy of each function."""
FUZZ = ("fuzz", "--hours", "2", "--seeds", "20", "--seed", "770000", "--no-minimise", "--json")
JOURNAL = {"single": 250, "double": 1000, "silent": 5000, "rot": 300, "wear": 3000}
MODULES = "_firmware _estimator _leak _observer"
FLAGS = "-fprofile-instr-generate -fcoverage-mapping -DBMS_NO_CLONES"
MCDC_VERSION = 18
LEAST = (100.0, 99.4, 99.5)
"""Per cent of lines, branches and conditions shown to decide alone: rises, and never falls."""
EXCUSES = Path(__file__).with_name("unreachable.toml")


class Place(NamedTuple):
    """Something that never happened: kind is "line", "true", "false" or "alone" (of MC/DC); text is
    the condition, or the decision of which some condition was not shown alone."""

    line: int
    kind: str
    text: str = ""


class File(NamedTuple):
    """Counts of one source file, and what is missing."""

    lines: int
    branches: int
    conditions: int
    missing: list[Place]

    def missed(self, *kinds: str) -> int:
        return sum(place.kind in kinds for place in self.missing)


def clang() -> tuple[str, int]:
    """The newest clang of this machine and its version. SystemExit without one."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    names = {p.name for f in folders for p in Path(f).glob("clang-[0-9]*") if p.name[6:].isdigit()}
    for version in sorted((int(name[6:]) for name in names), reverse=True):
        if shutil.which(f"llvm-cov-{version}") and shutil.which(f"llvm-profdata-{version}"):
            return f"clang-{version}", version
    raise SystemExit("no clang with llvm-cov: make test-tools")


def build(folder: Path) -> None:
    """A copy of src whose firmware counts."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "src", folder / "src")
    compiler, version = clang()
    flags = FLAGS + (" -fcoverage-mcdc" if version >= MCDC_VERSION else "")
    variables = {
        **os.environ, "BMS_ONLY": MODULES, "BMS_CFLAGS": f"{flags} -O1 -w", "CC": compiler,
        "LDFLAGS": "-fprofile-instr-generate", "BMS_CC": "",
    }  # fmt: skip
    words = [sys.executable, "setup.py", "-q", "build_ext"]
    places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "obj")]
    # Cython's own C makes clang talk; what it says is of interest only where it fails.
    done = subprocess.run(
        [*words, *places], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    for made in (folder / "lib/bms").glob("*.so"):
        shutil.copy(made, folder / "src/bms")


def programs(folder: Path) -> None:
    """The claims in C, and the journal against cuts, in builds that count; SystemExit if one
    fails."""
    compiler, version = clang()
    options = (*FLAGS.split(), *(["-fcoverage-mcdc"] if version >= MCDC_VERSION else []), "-O0")
    raw = {"LLVM_PROFILE_FILE": str(folder / "raw/parts%4m.profraw")}
    program = parts.build(folder / "parts", compiler, options)
    path = os.pathsep.join([str(folder / "src"), *_outer()])
    states = parts.snapshots(folder / "states", PYTHONPATH=path, **raw)
    verdicts, said = parts.run(program, states, **raw)
    if not verdicts or not all(verdicts.values()):
        raise SystemExit(said)
    journal = folder / "parts/journal_cut"
    core = [parts.CORE / f"{name}.c" for name in ("journal", "crc")]
    sources = [str(path) for path in (ROOT / "tests/c/journal_cut.c", *core)]
    words = [compiler, *options, *parts.INCLUDES, *sources]
    subprocess.run([*words, *parts.FLAGS, "-o", str(journal)], check=True)
    raw = {**os.environ, "LLVM_PROFILE_FILE": str(folder / "raw/journal%4m.profraw")}
    for mode, many in JOURNAL.items():
        subprocess.run([journal, mode, str(many), "1"], env=raw, check=True)


def run(folder: Path, tests: list[str], fuzz: bool) -> int:
    """What pytest says; tests and stories see the copy."""
    path = os.pathsep.join([str(folder / "src"), *_outer()])
    raw = folder / "raw/%4m.profraw"
    variables = {
        **os.environ, "PYTHONPATH": path, "LLVM_PROFILE_FILE": str(raw), "BMS_SOURCES": str(ROOT),
        "BMS_SLOW_S": "1e6",
    }  # fmt: skip
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--deselect",
        NOT,
        *tests,
    ]
    code = subprocess.run(words, cwd=ROOT, env=variables, check=False).returncode
    if fuzz:
        subprocess.run([sys.executable, "-m", "bms.cli", *FUZZ], env=variables, check=False)
    return code


def _outer() -> list[str]:
    """What PYTHONPATH held, without this project's own src."""
    words = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [word for word in words if word and Path(word).resolve() != ROOT / "src"]


def count(folder: Path) -> dict[str, File]:
    """Every C file of the firmware with what is missing in it."""
    version = clang()[1]
    merged = folder / "all.profdata"
    raw = map(str, (folder / "raw").glob("*.profraw"))
    subprocess.run([f"llvm-profdata-{version}", "merge", "-o", merged, *raw], check=True)
    objects = sorted((folder / "lib/bms").glob("*.so"))
    programs = (folder / "parts" / name for name in ("parts", "journal_cut"))
    objects += [made for made in programs if made.exists()]
    more = [word for path in objects[1:] for word in ("-object", str(path))]
    words = [f"llvm-cov-{version}", "export", f"-instr-profile={merged}", str(objects[0]), *more]
    said = [
        subprocess.run([*words, *option], capture_output=True, text=True, check=True).stdout
        for option in (("-skip-functions", "-skip-expansions"), ("-format=lcov",))
    ]
    lines = _lines(said[1])
    return {
        Path(file["filename"]).name: _file(
            file, lines[file["filename"]], Path(file["filename"]).read_text().splitlines()
        )
        for file in json.loads(said[0])["data"][0]["files"]
        if Path(file["filename"]).parts[-2:-1] == ("firmware",)
    }


def _lines(lcov: str) -> dict[str, dict[int, int]]:
    """How often each line ran, by file."""
    found: dict[str, dict[int, int]] = {}
    for block in lcov.split("end_of_record"):
        if name := re.search(r"^SF:(.*)$", block, re.MULTILINE):
            hits = re.findall(r"^DA:(\d+),(\d+)", block, re.MULTILINE)
            found[name[1]] = {int(line): int(times) for line, times in hits}
    return found


def _file(file: dict[str, Any], lines: dict[int, int], text: list[str]) -> File:
    # Braces alone and macros are told as lines by the compiler; nothing runs there.
    code = {
        k: n for k, n in lines.items() if not re.match(r"\s*(#|\}$|default:$|\{$)", text[k - 1])
    }
    missing = [Place(line, "line") for line, times in code.items() if times == 0]
    sides: dict[tuple[int, ...], list[int]] = {}
    for branch in file["branches"]:
        total = sides.setdefault(tuple(branch[:4]), [0, 0])
        total[0] += branch[4]
        total[1] += branch[5]
    for place, counts in sides.items():
        missing += [
            Place(place[0], side, _between(text, place))
            for side, times in zip(("true", "false"), counts, strict=True)
            if times == 0
        ]
    alone: dict[tuple[int, ...], list[bool]] = {}
    for record in file.get("mcdc_records", []):
        known, seen = alone.setdefault(tuple(record[:4]), []), record[-1]
        known[:] = [a or b for a, b in zip(known, seen, strict=True)] if known else seen
    for place, shown in alone.items():
        missing += [Place(place[0], "alone", _between(text, place))] * shown.count(False)
    conditions = sum(map(len, alone.values()))
    return File(len(code), 2 * len(sides), conditions, sorted(missing))


def _between(text: list[str], place: tuple[int, ...]) -> str:
    """The source from (line, column) to (line, column), both from 1."""
    first, begin, last, end = place
    if first == last:
        return text[first - 1][begin - 1 : end - 1]
    rows = [text[first - 1][begin - 1 :], *text[first : last - 1], text[last - 1][: end - 1]]
    return " ".join(row.strip() for row in rows)


def excuses() -> dict[str, list[dict[str, Any]]]:
    """Reviewed places that nothing can reach: [{lines, reason}] by file."""
    return tomllib.loads(EXCUSES.read_text())


def places(source: list[str], text: str) -> set[int]:
    """Numbers of the lines that are `text`, alone or together with the line before."""
    bare = ["", *(line.strip() for line in source)]
    return {k for k in range(1, len(bare)) if text in (bare[k], f"{bare[k - 1]} {bare[k]}")}


def judge(name: str, file: File, given: list[dict[str, Any]]) -> tuple[File, list[str]]:
    """The file without what is excused, and what is wrong with the excuses."""
    source = (ROOT / "ext/firmware" / name).read_text().splitlines()
    wrong, excused = [], set()
    for excuse in given:
        for text in excuse["lines"]:
            numbers = places(source, text)
            seen = {place for place in file.missing if place.line in numbers}
            if not seen:
                wrong.append(f"{name}: an excuse that is not needed: {text}")
            excused |= seen
    left = [place for place in file.missing if place not in excused]
    wrong += [
        f"{name}:{line}: never {kind}: {text or source[line - 1].strip()}"
        for line, kind, text in left
    ]
    return file._replace(missing=left), wrong


def _percent(part: int, whole: int) -> str:
    return f"{100 * (whole - part) / whole:.1f} %" if whole else "-"


def _row(file: File) -> tuple[str, str, str]:
    return (
        _percent(file.missed("line"), file.lines),
        _percent(file.missed("true", "false"), file.branches),
        _percent(file.missed("alone"), file.conditions),
    )


def _sum(files: list[File]) -> File:
    missing = [place for file in files for place in file.missing]
    counts = [sum(getattr(f, name) for f in files) for name in ("lines", "branches", "conditions")]
    return File(counts[0], counts[1], counts[2], missing)


def section(found: dict[str, File], left: dict[str, File], tests: list[str]) -> str:
    """The table, worst file first."""
    rows = [
        (
            f"`{name}`",
            *_row(file),
            ranges(sorted({place.line for place in left[name].missing})) or "none",
        )
        for name, file in sorted(found.items(), key=lambda item: -len(left[item[0]].missing))
    ]
    whole, rest = _sum(list(found.values())), _sum(list(left.values()))
    compiler, version = clang()
    lines, branches, alone = _row(whole)
    without = _row(rest)
    said = [
        f"{compiler.replace('-', ' ')}, `{' '.join(tests)}`, "
        f"{sum(map(len, parts.claims().values()))} claims in C, the journal's cuts and "
        f"`bms {' '.join(FUZZ)}` "
        f"over sources `{digest()}`: **{lines}** of {whole.lines} lines, **{branches}** of "
        f"{whole.branches} branches (each condition true and false), **{alone}** of "
        f"{whole.conditions} conditions shown to decide alone (MC/DC).",
        f"Without the places of `tools/guard/unreachable.toml`: **{without[0]}**, **{without[1]}** "
        f"and **{without[2]}**.",
    ]
    head = ("file", "lines", "branches", "MC/DC", "lines with something left")
    if version < MCDC_VERSION:
        said[0] += f" clang {version} cannot measure MC/DC; 18 and newer can."
    return "\n\n".join([" ".join(said), table(head, rows), excused()])


def fallen(whole: File) -> list[str]:
    """What is below its ratchet; MC/DC only where it was measured."""
    told = [float(figure[:-2]) for figure in _row(whole) if figure != "-"]
    names = ("lines", "branches", "MC/DC")
    rows = zip(names, told, LEAST, strict=False)
    return [f"{name} fell to {now} %, below {least} %" for name, now, least in rows if now < least]


def excused() -> str:
    """The places that nothing reaches, with their reasons."""
    rows = [
        (f"`{name}`", f"`{line.replace('|', '¦')}`", excuse["reason"])
        for name, given in sorted(excuses().items())
        for excuse in given
        for line in excuse["lines"]
    ]
    return table(("file", "not reached", "reason"), rows)


def digest() -> str:
    """Of the firmware's sources: the figures are of these."""
    whole = hashlib.sha256()
    for path in sorted([*parts.CORE.glob("*.c"), *parts.CORE.glob("*.h")]):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()[:12]


def main() -> int:
    """Builds, runs, counts, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "out/coverage")
    parser.add_argument("--counted", action="store_true", help="count what ran before, run nothing")
    args, rest = parser.parse_known_args()
    folder, tests, code = args.folder.resolve(), rest or list(TESTS), 0
    if not args.counted:
        build(folder)
        programs(folder)
        code = run(folder, tests, fuzz=not rest)
    found, given = count(folder), excuses()
    judged = {name: judge(name, file, given.get(name, [])) for name, file in found.items()}
    wrong = [line for _, lines in judged.values() for line in lines]
    if not rest:
        wrong += fallen(_sum(list(found.values())))
    print("\n".join(wrong))
    write_section("coverage", section(found, {n: f for n, (f, _) in judged.items()}, tests))
    return code or int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
