"""First-order mutants of the firmware's core: does a test notice when one small thing is wrong?

    python tools/guard/mutate.py [--count 120] [--seed 1] [--file leak.c ...] [--again]

Draws places by seed from all of ext/firmware: a relation, a connective, an operator, a constant by
one, a condition negated, a statement removed. A mutant whose machine code is the same is no mutant;
one that does not compile is drawn anew. The rest meets the claims in C (parts.py), which take two
seconds, then the tests of the firmware, those that caught mutants of the same file first, then a
batch of random stories. Rows go to tools/guard/mutation.json and, as a table, into docs/guard.md;
every survivor needs its verdict in tools/guard/survivors.toml. A run goes on from the rows on file
with its seed whose line is still there; `--again` runs the survivors on file once more, after tests
were added. About 20 seconds of CPU a mutant.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import parts
from page import ROOT, table, write_section

CORE = ROOT / "ext/firmware"
KEPT = Path(__file__).with_name("mutation.json")
REVIEWED = Path(__file__).with_name("survivors.toml")
MODULES = "_firmware _leak _observer"
TESTS = {"_firmware": "tests/unit/firmware", "_leak": "tests/unit/leak",
         "_observer": "tests/unit/observer"}  # fmt: skip
CLAIMS = "tests/unit/firmware/test_parts.py"
FUZZ = ("fuzz", "--hours", "1", "--seeds", "30", "--seed", "40", "--no-minimise", "--json")
FLAGS = ("-std=c99", "-D_DEFAULT_SOURCE", "-O2", "-ffp-contract=off", "-fno-math-errno",
         "-fno-trapping-math", "-funsigned-char", "-fvisibility=hidden", "-fPIC", "-w",
         "-DBMS_NO_CLONES")  # fmt: skip
PLACES = [f"-I{ROOT / 'ext' / part}" for part in ("", "common", "firmware", "firmware/generated")]
PARTS = ("-O0",)
CPU_S = 90
SWAPS = {
    "relation": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "connective": {"&&": "||", "||": "&&"},
    "operator": {"+": "-", "-": "+", "*": "/", "/": "*", "+=": "-=", "-=": "+=", "|=": "&=",
                 "&=": "|=", "&": "|", "|": "&", "<<": ">>", ">>": "<<"},
}  # fmt: skip
WORDS = {word: (kind, other) for kind, pairs in SWAPS.items() for word, other in pairs.items()}
BINARY = re.compile(r"(?<= )([<>=!]=|&&|\|\||[-+|&]=|<<|>>|[-+*/&|<>])(?= )")
CONSTANT = re.compile(r"(?<![\w.])(\d+)(?=[uU]?\b)(?![.\w]*[.])")
CONDITION = re.compile(r"\bif \(")
STATEMENT = re.compile(r"^\s*(?:self|\w+(?:->|\.|\[)|\w+\(|\*?\w+ [-+|&]?= |\(void\))[^{}]*;\s*$")
NOT_CODE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])'", re.DOTALL)


class Mutant(NamedTuple):
    """One change: the text at `start` to `end` of a file becomes `new`."""

    file: str
    start: int
    end: int
    new: str
    kind: str


class Row(NamedTuple):
    """What became of one. line: the source line, without blanks; outcome: the test that caught it,
    "stories", or "" for a survivor."""

    file: str
    line: str
    change: str
    kind: str
    outcome: str


def blanked(text: str) -> str:
    """The text with comments, strings and preprocessor lines as blanks, at the same places."""
    text = NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return re.sub(r"^#(?:.*\\\n)*.*$", lambda f: re.sub(r"[^\n]", " ", f[0]), text, flags=re.M)


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Every mutant of a source file."""
    code = blanked(text)
    for found in BINARY.finditer(code):
        kind, other = WORDS[found[1]]
        if not (found[1] == "*" and re.search(r"(\bconst|_t) $", code[: found.start()])):
            yield Mutant(file, found.start(), found.end(), other, kind)
    for found in CONSTANT.finditer(code):
        number = int(found[1])
        for value in {number + 1, max(number - 1, 0)} - {number}:
            yield Mutant(file, found.start(1), found.end(1), str(value), "constant")
    for found in CONDITION.finditer(code):
        if end := _closing(code, found.end() - 1):
            inner = text[found.end() - 1 : end]
            yield Mutant(file, found.end() - 1, end, f"(!{inner})", "condition")
    at = 0
    for line in code.splitlines(keepends=True):
        if STATEMENT.match(line) and line.count("(") == line.count(")"):
            yield Mutant(file, at, at + len(line) - 1, ";", "statement")
        at += len(line)


def _closing(code: str, at: int) -> int:
    """One past the bracket that closes the one at `at`; 0 without it."""
    depth = 0
    for k in range(at, len(code)):
        depth += {"(": 1, ")": -1}.get(code[k], 0)
        if depth == 0:
            return k + 1
    return 0


def every(files: list[str]) -> list[Mutant]:
    """All mutants of these files (none named: all), in a fixed order."""
    names = files or [p.name for p in sorted(CORE.glob("*.c")) if p.stem != "config_fields"]
    return [mutant for name in names for mutant in mutants(name, (CORE / name).read_text())]


def described(mutant: Mutant) -> tuple[str, str]:
    """Its line without blanks, and "old -> new"."""
    text = (CORE / mutant.file).read_text()
    begin = text.rfind("\n", 0, mutant.start) + 1
    line = text[begin : text.find("\n", mutant.start)].strip()
    column = mutant.start - begin - (len(text[begin:]) - len(text[begin:].lstrip()))
    old = text[mutant.start : mutant.end].strip()
    if mutant.kind == "statement":
        return line, "removed"
    if mutant.kind == "condition":
        return line, "negated"
    return line, f"{old} -> {mutant.new} at column {max(column, 0) + 1}"


class Bench:
    """A copy of the Python side, whose modules are linked anew with one object exchanged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kills = folder, Counter[tuple[str, str]]()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "src", folder / "src")
        places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "obj")]
        variables = {**os.environ, "BMS_ONLY": MODULES, "BMS_CFLAGS": " ".join(FLAGS[2:])}
        words = [sys.executable, "setup.py", "-q", "build_ext", *places]
        subprocess.run(words, cwd=ROOT, env=variables, check=True)
        self.usual = ""
        self.modules = {p.name.split(".")[0]: p.name for p in (folder / "lib/bms").glob("*.so")}

        parts.build(folder / "parts", "gcc", PARTS)
        self.states = parts.snapshots(folder / "states")
        for name in ("bms.c", "leak.c", "observer.c"):
            self.link(name, None)
        self.usual = self.stories()

    def compiled(self, name: str, text: str) -> Path | None:
        source, made = self.folder / name, self.folder / f"{name}.o"
        source.write_text(text)
        words = ["gcc", *FLAGS, *PLACES, "-c", name, "-o", str(made)]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, check=False)
        return None if done.returncode else made

    def is_new(self, mutant: Mutant) -> Path | None:
        """Its object; None where it does not compile or is the same code."""
        text = (CORE / mutant.file).read_text()
        before = self.compiled(mutant.file, text)
        plain = before.read_bytes() if before else b""
        wrong = text[: mutant.start] + mutant.new + text[mutant.end :]
        made = self.compiled(mutant.file, wrong)
        return made if made and made.read_bytes() != plain else None

    def link(self, name: str, made: Path | None) -> None:
        """Every module that holds the file, with this object of it."""
        for module in self.holding(name):
            words = [
                made if made and path.stem + ".c" == name else path for path in self.objects(module)
            ]
            target = self.folder / "src/bms" / self.modules[module]
            target.unlink(missing_ok=True)
            subprocess.run(["gcc", "-shared", "-o", target, *words], check=True)

    def objects(self, module: str) -> list[Path]:
        return sorted((self.folder / "obj" / f"bms.{module}").rglob("*.o"))

    def holding(self, name: str) -> list[str]:
        return [m for m in self.modules if any(p.stem + ".c" == name for p in self.objects(m))]

    def claims(self, name: str) -> str:
        """The claim in C that the file of this name beside the copy breaks, or ""."""
        try:
            program = parts.build(self.folder / "parts", "gcc", PARTS, self.folder / name)
            verdicts, _ = parts.run(program, self.states)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return f"{CLAIMS}::crash or hang"
        broken = [claim for claim, holds in verdicts.items() if not holds]
        return f"{CLAIMS}::{broken[0]}" if broken else ""

    def meets(self, name: str) -> str:
        """What catches the mutant that is linked: a test, "stories", or nobody ("")."""
        folders = [ROOT / TESTS[module] for module in self.holding(name)]
        if broken := self.claims(name):
            return broken
        tests = [str(p.relative_to(ROOT)) for f in folders for p in f.glob("test_*.py")]
        tests = [test for test in tests if test != CLAIMS]
        order = sorted(tests, key=lambda test: (-self.kills[name, test], test))
        quiet = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        code, said = self._run(["-m", "pytest", *quiet, *order])
        if code:
            found = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
            if found:
                self.kills[name, found[1].split("::")[0]] += 1
            return found[1].split("[")[0] if found else "crash or hang"
        return "" if self.stories() == self.usual else "stories"

    def stories(self) -> str:
        """What breaks in a batch of random stories."""
        said = self._run(["-m", "bms.cli", *FUZZ])[1]
        try:
            told = json.loads(said)
        except ValueError:
            return "no verdict"
        return json.dumps([told["failing_seeds"], told["complaints"], told["false_trips"]])

    def _run(self, words: list[str]) -> tuple[int, str]:
        outer = [w for w in os.environ.get("PYTHONPATH", "").split(os.pathsep) if w]
        others = [w for w in outer if Path(w).resolve() != ROOT / "src"]
        path = os.pathsep.join([str(self.folder / "src"), *others])
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": path, "BMS_SOURCES": str(ROOT), "BMS_SLOW_S": "1e6"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S)),
        )  # fmt: skip
        return done.returncode, done.stdout

    def judge(self, mutant: Mutant) -> Row | None:
        """Its row; None where it is no mutant."""
        made = self.is_new(mutant)
        if made is None:
            return None
        self.link(mutant.file, made)
        outcome = self.meets(mutant.file)
        self.link(mutant.file, None)
        return Row(mutant.file, *described(mutant), mutant.kind, outcome)


def key(row: Row) -> str:
    """How survivors.toml names a row."""
    return f"{row.file}: {row.line} ({row.change})"


def reviewed() -> dict[str, dict[str, str]]:
    """{key: {verdict, reason}}; verdict is "equivalent" or "accepted"."""
    return {row["mutant"]: row for row in tomllib.loads(REVIEWED.read_text()).get("survivor", [])}


def section(kept: dict[str, object], rows: list[Row]) -> str:
    """Score by file, then survivors with their verdicts."""
    verdicts = reviewed()
    dead, all_of = Counter(r.file for r in rows if r.outcome), Counter(r.file for r in rows)
    by_kind = Counter(row.kind for row in rows)
    caught = Counter(row.kind for row in rows if row.outcome)
    equal = sum(verdicts.get(key(r), {}).get("verdict") == "equivalent" for r in rows)
    total, killed = len(rows), sum(dead.values())
    stories = sum(row.outcome == "stories" for row in rows)
    score = 100 * killed / max(1, total - equal)
    said = (
        f"Seed {kept['seed']}, {kept['places']} places, {total} mutants drawn ({kept['same']} more "
        f"were the same machine code or did not compile): **{killed} caught**, {stories} of them "
        f"by stories alone; {equal} of {total - killed} survivors are equivalent. Score without "
        f"those: **{score:.1f} %**."
    )
    kinds = table(
        ("change", "mutants", "caught"), [(k, by_kind[k], caught[k]) for k in sorted(by_kind)]
    )
    files = table(
        ("file", "mutants", "caught"), [(f"`{f}`", all_of[f], dead[f]) for f in sorted(all_of)]
    )
    left = [
        (f"`{r.file}`", f"`{r.line.replace('|', '¦')}`", r.change.replace("|", "¦"),
         verdicts.get(key(r), {}).get("verdict", "**not reviewed**"),
         verdicts.get(key(r), {}).get("reason", ""))
        for r in rows if not r.outcome
    ]  # fmt: skip
    return "\n\n".join(
        [said, kinds, files, table(("file", "line", "survivor", "verdict", "reason"), left)]
    )


def load() -> tuple[dict[str, object], list[Row]]:
    """The last run."""
    kept = json.loads(KEPT.read_text())
    return kept, [Row(*row) for row in kept["rows"]]


def keep(kept: dict[str, object], rows: list[Row]) -> None:
    """Rows to the file, one a line, and the table to the page."""
    head = json.dumps({name: value for name, value in kept.items() if name != "rows"})[:-1]
    body = ",\n".join(json.dumps(list(row), ensure_ascii=False) for row in rows)
    KEPT.write_text(f'{head}, "rows": [\n{body}\n]}}\n')
    write_section("mutation", section(kept, rows))


def _fresh(args: argparse.Namespace, bench: Bench) -> None:
    pool = every(args.file)
    kept, old = load() if KEPT.exists() else ({}, [])
    there = {key(Row(mutant.file, *described(mutant), mutant.kind, "")) for mutant in pool}
    rows = [row for row in old if key(row) in there] if kept.get("seed") == args.seed else []
    same, known = int(str(kept.get("same", 0))) if rows else 0, {key(row) for row in rows}
    random.Random(args.seed).shuffle(pool)
    for mutant in pool:
        if len(rows) >= args.count:
            break
        if key(Row(mutant.file, *described(mutant), mutant.kind, "")) in known:
            continue
        row = bench.judge(mutant)
        if row is None:
            same += 1
            continue
        rows.append(row)
        print(f"{len(rows):4} {row.outcome or 'SURVIVES':60} {key(row)}", flush=True)
        keep({"seed": args.seed, "places": len(pool), "same": same}, sorted(rows))


def _again(bench: Bench) -> None:
    kept, rows = load()
    found = {}
    for mutant in every(sorted({row.file for row in rows if not row.outcome})):
        found[mutant.file, *described(mutant)] = mutant
    for k, row in enumerate(rows):
        if row.outcome:
            continue
        known = found.get(row[:3])
        now = bench.judge(known) if known else None
        print(f"{now.outcome or 'SURVIVES' if now else 'is no more'} {key(row)}", flush=True)
        rows[k] = now or row
    keep(kept, [row for row in rows if row.outcome or row[:3] in found])


def main() -> int:
    """Draws, builds, runs, writes. 1 with a survivor nobody has looked at."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--again", action="store_true", help="only the survivors on file")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    parser.add_argument("--folder", type=Path, default=ROOT / "out/mutation")
    args = parser.parse_args()
    os.nice(10)
    if args.table:
        keep(*load())
    elif args.again:
        _again(Bench(args.folder.resolve()))
    else:
        _fresh(args, Bench(args.folder.resolve()))
    left = [row for row in load()[1] if not row.outcome and key(row) not in reviewed()]
    print("\n".join(f"not reviewed: {key(row)}" for row in left))
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
