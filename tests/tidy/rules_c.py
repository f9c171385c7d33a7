"""House rules for C and Cython."""

from __future__ import annotations

import re
from collections.abc import Iterator

from house import Check, Finding, Rule

C_FILES = ("ext/*.c", "ext/*.h")
FUNCTION_LINES = 80  # "about 70"
CONDITIONS = 4


def without_comments(text: str) -> str:
    """C text with comments and string contents blanked, lines kept."""

    def blank(found: re.Match[str]) -> str:
        word = found.group(0)
        return '""' if word[0] == '"' else re.sub(r"[^\n]", " ", word)

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


def lines_matching(pattern: str, message: str, *, code_only: bool = True) -> Check:
    """A check that fires on every line the pattern is found in."""
    compiled = re.compile(pattern)

    def check(path: str, text: str) -> Iterator[Finding]:
        body = without_comments(text) if code_only else text
        for number, line in enumerate(body.splitlines(), 1):
            found = compiled.search(line)
            if found:
                yield number, f"{found.group(0).strip()}: {message}"

    return check


def function_length(path: str, text: str) -> Iterator[Finding]:
    start = 0
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        if line.startswith("{") or (line[:1].isalpha() and re.search(r"\)\s*\{\s*$", line)):
            start = number
        elif line.startswith("}") and start:
            if number - start > FUNCTION_LINES:
                yield start, f"a function of {number - start} lines (at most {FUNCTION_LINES})"
            start = 0


def decisions(path: str, text: str) -> Iterator[Finding]:
    body = without_comments(text)
    for found in re.finditer(r"\b(?:if|while)\s*\(", body):
        depth, end = 1, found.end()
        while depth and end < len(body):
            depth += {"(": 1, ")": -1}.get(body[end], 0)
            end += 1
        count = 1 + len(re.findall(r"&&|\|\|", body[found.end() : end]))
        if count > CONDITIONS:
            line = body.count("\n", 0, found.start()) + 1
            yield line, f"{count} conditions in one decision (at most {CONDITIONS})"


def globals_in_firmware(path: str, text: str) -> Iterator[Finding]:
    pattern = re.compile(
        r"^(?:static\s+)?(?!.*\bconst\b)(?!static\s+inline|typedef|extern|enum)[a-z_]\w*(?:\s+\w+)*[\s*]+\w+(?:\[[^\]]*\])*\s*(?:=.*|;)$"
    )
    depth = 0
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        if depth == 0 and not line.startswith("#") and "(" not in line and pattern.match(line):
            yield (
                number,
                "a mutable variable outside a function: state lives in the caller's struct",
            )
        depth += line.count("{") - line.count("}")


RULES = [
    Rule(
        "firmware_needs_no_system",
        "no heap, no console, no mathematics library",
        ("ext/firmware/*", "ext/target/*"),
        lines_matching(
            r"\b(?:malloc|calloc|realloc|free|alloca|s?n?printf|puts|fopen|assert|rand|time|exit|memmove_s|sqrtf?|expf?|logf?|powf?|sinf?|cosf?)\s*\(|math\.h",
            "not in firmware",
        ),
        bad=(
            ("ext/firmware/a.c", "p = malloc(3);"),
            ("ext/firmware/a.c", "x = expf (y);"),
            ("ext/firmware/a.c", "snprintf(b, 3, s);"),
        ),
        good=(("ext/firmware/a.c", "/* no malloc(here) */ my_exp(x); elapsed_time(t);"),),
    ),
    Rule(
        "no_transcendental_from_libm",
        "libm differs by processor: what is hashed uses exactmath.h",
        ("ext/*.c", "ext/*.h", "ext/*.pyx"),
        lines_matching(
            r"\b(?:exp|expf|exp2|expm1|log|logf|log2|log10|log1p|pow|powf|sin|cos|tan|atan|atan2|sinh|cosh|tanh|cbrt|hypot|erf)\s*\(",
            "use exactmath.h",
        ),
        bad=(("ext/plant/heat.c", "double r = exp(-x);"), ("ext/plant/heat.c", "y = powf(a, b);")),
        good=(("ext/plant/heat.c", "y = exact_exp(x) + sqrt(x) + fabs(x);"),),
    ),
    Rule(
        "no_loose_floating_point",
        "these options and pragmas change results between compilers and machines",
        ("setup.py", "Makefile", "ext/*", "tools/*", "src/*.py", "tests/c/*"),
        lines_matching(
            "-f"
            + r"fast-math|-O"
            + r"fast|-march="
            + r"native|-f"
            + r"finite-math-only|-f"
            + r"unsafe-math|FP_CONTRACT\s+ON|__attribute__.*optimize",
            "not here",
            code_only=False,
        ),
        bad=(
            ("setup.py", 'FLAGS = ["-O' + 'fast"]'),
            ("Makefile", "CFLAGS=-march=" + "native"),
            ("ext/a.c", "#pragma STDC FP_CONTRACT  ON"),
        ),
        good=(("setup.py", 'FLAGS = ["-O3", "-ffp-contract=off"]'),),
    ),
    Rule(
        "c_function_length",
        "a function is read at one glance",
        C_FILES,
        function_length,
        bad=(
            ("ext/a.c", "int f(void)\n{\n" + "  x();\n" * 90 + "}\n"),
            ("ext/a.c", "int f(void) {\n" + "  x();\n" * 90 + "}\n"),
        ),
        good=(("ext/a.c", "int f(void)\n{\n" + "  x();\n" * 60 + "}\n"),),
    ),
    Rule(
        "c_decisions",
        "more than four conditions cannot be covered one by one",
        ("ext/firmware/*.c", "ext/firmware/*.h"),
        decisions,
        bad=(("ext/firmware/a.c", "if (a && b && (c ||\n d) && e) x();"),),
        good=(("ext/firmware/a.c", "if (a && b && (c ||\n d)) x(e && f);"),),
    ),
    Rule(
        "firmware_has_no_globals",
        "two instances live in one process",
        ("ext/firmware/*.c", "ext/chips/*.c", "ext/plant/*.c", "ext/recorder/*.c", "ext/loop/*.c"),
        globals_in_firmware,
        bad=(
            ("ext/firmware/a.c", "static uint32_t count;"),
            ("ext/firmware/a.c", "uint8_t table[4] = {1};"),
        ),
        good=(
            (
                "ext/firmware/a.c",
                "static const uint8_t t[2] = {1, 2};\nint f(void)\n{\n    int x;\n}\n"
                "typedef struct {\n    int y;\n} y_t;",
            ),
        ),
    ),
    Rule(
        "cython_bounds",
        "bounds checks are switched off in one place, setup.py; a file may only switch them on",
        ("ext/bms/*",),
        lines_matching(
            r"(?:boundscheck|wraparound|nonecheck|initializedcheck|cdivision|cpow)\s*(?:\(|=)\s*(?:False|True)",
            "directives stand in setup.py",
            code_only=False,
        ),
        bad=(
            ("ext/bms/_a.pyx", "# cython: boundscheck=False"),
            ("ext/bms/_a.pyx", "@cython.wraparound(False)"),
        ),
        good=(("ext/bms/_a.pyx", "# distutils: sources = ext/a.c"),),
    ),
]
