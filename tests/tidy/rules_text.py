"""House rules for Python and for the words in every file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from house import Check, Finding, Rule

FILE_LINES = 450  # "about 400"
FUNCTION_LINES = 70  # "about 60"
PACKAGES = ("src/*.py", "gui/*.py", "hil/*.py")
SOURCES = (*PACKAGES, "tools/*.py")

# Written in pieces, so that this file does not break its own rule.
UNFINISHED = "TO" + "DO|FIX" + "ME|\\bXX" + "X\\b|Not" + "ImplementedError|assert " + "True\\b"
HOSTS = "pypi" + r"\.org|python" + r"hosted|deb\.deb" + r"ian\.org|registry\.npm" + "js"
PLACES = "/wo" + "rk/|/fa" + "rm/|/ro" + "ot/|/home/[a-z]|/Use" + "rs/"
PROCESS = r"\bissue #?\d|\bthis ses" + "sion|\\bthe lead's\\b|\\bco-authored"


def words(pattern: str, message: str) -> Check:
    """A check that fires on every line with the pattern."""
    compiled = re.compile(pattern, re.IGNORECASE if pattern in (HOSTS, PROCESS) else 0)

    def check(path: str, text: str) -> Iterator[Finding]:
        for number, line in enumerate(text.splitlines(), 1):
            found = compiled.search(line)
            if found:
                yield number, f"{found.group(0)!r}: {message}"

    return check


def file_length(path: str, text: str) -> Iterator[Finding]:
    count = text.count("\n")
    if count > FILE_LINES:
        yield count, f"{count} lines (at most {FILE_LINES}): split it, or say in `allowed` why not"


def functions(text: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool, bool]]:
    """(function, is it public, is it a method), for functions and the methods of classes."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, not node.name.startswith("_"), False
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    public = not item.name.startswith("_") and not node.name.startswith("_")
                    yield item, public, True


def function_length(path: str, text: str) -> Iterator[Finding]:
    for node, _public, _method in functions(text):
        length = (node.end_lineno or node.lineno) - node.lineno
        if length > FUNCTION_LINES:
            yield node.lineno, f"{node.name} has {length} lines (at most {FUNCTION_LINES})"


def docstrings(path: str, text: str) -> Iterator[Finding]:
    tree = ast.parse(text)
    if text.strip() and not ast.get_docstring(tree):
        yield 1, "the module has no docstring"
    for node, public, method in functions(text):
        short = method and (node.end_lineno or 0) - node.lineno <= 5
        uniform = node.name in ("arguments", "run", "rows") and re.match(
            "src/bms/(cli|bench)/", path
        )
        claims = path.startswith("hil/suite/") or node.name.startswith("pytest_")
        if public and not (short or uniform or claims) and not ast.get_docstring(node):
            yield node.lineno, f"{node.name} is public and has no docstring"


QUANTITIES = frozenset(
    [
        "voltage",
        "current",
        "temperature",
        "pressure",
        "resistance",
        "power",
        "energy",
        "capacity",
        "soc",
    ]
)
UNITS = frozenset(
    [
        "v",
        "mv",
        "uv",
        "a",
        "ma",
        "ua",
        "degc",
        "cdegc",
        "ddegc",
        "k",
        "kpa",
        "ohm",
        "uohm",
        "mohm",
        "kohm",
        "ah",
        "mah",
        "wh",
        "kwh",
        "dwh",
        "uc",
        "c",
        "frac",
        "pptt",
        "pct",
        "ns",
        "us",
        "ms",
        "s",
        "h",
        "min",
        "j",
        "kj",
        "w",
        "kw",
        "hz",
        "khz",
        "kg",
        "g",
        "m",
        "mm",
        "um",
        "m2",
        "cm2",
        "km",
        "f",
        "ev",
        "n",
        "bar",
        "exponent",
    ]
)
NUMBERS = ("float", "float | None", "tuple[float, ...]", "Triplet")


def unit_last(path: str, text: str) -> Iterator[Finding]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        parts = name.lower().split("_")
        is_quantity = ast.unparse(node.annotation) in NUMBERS and set(parts) & QUANTITIES
        if is_quantity and "per" not in parts and parts[-1] not in UNITS:
            yield node.lineno, f"{name} is a quantity without its unit at the end"


FUNCTIONS = "exp|exp2|expm1|log|log2|log10|log1p|sin|cos|tan|tanh|sinh|cosh"
NUMPY = "power|float_power|arctan|arctan2|random|dot|matmul|linalg"
libm_or_random = words(
    rf"\b(?:np|numpy)\.(?:{FUNCTIONS}|{NUMPY})\b|\bmath\.(?:{FUNCTIONS}|pow|atan|atan2)\b"
    r"|^\s*(?:import random|from random)\b",
    "differs by machine; use bms.rng (Stream, exact_exp, exact_log, exact_pow)",
)

CLOCKS = r"\btime\.(?:time|time_ns|monotonic|perf_counter|sleep)\b|datetime\.(?:now|utcnow|today)\b"


def machine_dependent(path: str, text: str) -> Iterator[Finding]:
    yield from libm_or_random(path, text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] == "units":
            names = {alias.name for alias in node.names}
            if "arrhenius" in names:
                yield node.lineno, "units.arrhenius is for tables and plots, it uses libm"


PURE_PLACES = (
    "plant/*.py cells/*.py packs/*.py scenarios/*.py faults/*.py firmware/*.py model.py units.py"
)
PURE = tuple(f"src/bms/{place}" for place in PURE_PLACES.split())

RULES = [
    Rule(
        "file_length",
        "a file is read in one sitting",
        (*SOURCES, "tests/*.py", "ext/*.c", "ext/*.h", "ext/*.pyx"),
        file_length,
        bad=(("src/bms/a.py", "x = 1\n" * 451),),
        good=(("src/bms/a.py", "x = 1\n" * 400),),
        allowed={
            "ext/firmware/canout.c": "one short function a message of the DBC, in its order",
            "ext/bms/_firmware.pyx": "one class is the whole rig of the firmware's own tests",
        },
    ),
    Rule(
        "function_length",
        "a function is read at one glance",
        SOURCES,
        function_length,
        bad=(("src/bms/a.py", "def f():\n" + "    x = 1\n" * 80),),
        good=(("src/bms/a.py", "def f():\n" + "    x = 1\n" * 60),),
    ),
    Rule(
        "docstrings",
        "a public function says what it is for",
        PACKAGES,
        docstrings,
        bad=(
            ("src/bms/a.py", '"""A."""\ndef f():\n    return 1\n'),
            ("src/bms/a.py", "x = 1\n"),
            ("src/bms/a.py", '"""A."""\nclass A:\n    def f(self):\n' + "        x()\n" * 7),
        ),
        good=(
            ("src/bms/a.py", '"""A."""\ndef f():\n    """B."""\ndef _g():\n    pass\n'),
            ("src/bms/cli/a.py", '"""A."""\ndef run(args):\n    return 0\n'),
            ("src/bms/a/__init__.py", ""),
            ("hil/suite/test_a.py", '"""A."""\ndef test_a():\n    pass\n'),
        ),
    ),
    Rule(
        "unit_last",
        "a number with a unit carries it at the end of its name",
        SOURCES,
        unit_last,
        bad=(("src/bms/a.py", "class A:\n    pack_voltage: float\n"),),
        good=(
            ("src/bms/a.py", "pack_voltage_v: float\nfixture: Fixture\nentropic_v_per_k: float"),
        ),
    ),
    Rule(
        "same_bits_everywhere",
        "what ends in simulated state may not depend on the processor",
        (*PURE, "src/bms/sim.py"),
        machine_dependent,
        bad=(
            ("src/bms/plant/build.py", "x = np.exp(y)"),
            ("src/bms/plant/build.py", "x = math.log(y)"),
            ("src/bms/faults/draw.py", "g = np.random.default_rng(1)"),
            ("src/bms/scenarios/a.py", "import random"),
            ("src/bms/plant/build.py", "from ..units import (\n    arrhenius,\n)"),
        ),
        good=(("src/bms/plant/build.py", "x = exact_exp(y) + np.sqrt(z) + math.sqrt(z)"),),
        allowed={
            "src/bms/units.py": "its arrhenius() is for tables and plots",
            "src/bms/cells/checks.py": "judges a file; what it computes is thrown away",
            "src/bms/cells/laws.py": "for tables, plots and checks; the plant has its own bits",
            "src/bms/plant/twin.py": "compared with the plant within a tolerance, never hashed",
        },
    ),
    Rule(
        "time_is_an_argument",
        "nothing below the command line reads a clock",
        (*PURE, "src/bms/protocols/*", "src/bms/estimator/*"),
        words(CLOCKS, "time is an argument here"),
        bad=(
            ("src/bms/plant/a.py", "now = time.monotonic()"),
            ("src/bms/cells/a.py", "datetime.now()"),
        ),
        good=(("src/bms/plant/a.py", "def step(now_us): return elapsed_time(now_us)"),),
    ),
    Rule(
        "finished",
        "nothing half done is kept",
        ("*",),
        words(UNFINISHED, "finish it, or leave it out"),
        bad=(
            ("src/bms/a.py", "# TO" + "DO later"),
            ("tests/a.py", "assert " + "True"),
            ("ext/a.c", "FIX" + "ME"),
        ),
        good=(("src/bms/a.py", "# to do this, all of that"),),
    ),
    Rule(
        "no_hosts",
        "where packages come from is the machine's setting, not the project's",
        ("*",),
        words(HOSTS, "a package registry"),
        bad=(("Makefile", "pip install -i https://py" + "pi.org/simple"),),
        good=(("Makefile", "pip install numpy"),),
    ),
    Rule(
        "no_machine_paths",
        "the project runs anywhere",
        ("*",),
        words(PLACES, "a path of one machine"),
        bad=(("docs/a.md", "see /ro" + "ot/x"), ("tests/a.py", 'open("/wo' + 'rk/x")')),
        good=(("docs/a.md", "see ../shared/data or src/bms/workers"),),
    ),
    Rule(
        "speaks_of_itself_alone",
        "files say what is, not how it came about",
        ("*",),
        words(PROCESS, "says how the work was organised"),
        bad=(("README.md", "as asked in is" + "sue #2"),),
        good=(("README.md", "issues may be reported"),),
    ),
]
