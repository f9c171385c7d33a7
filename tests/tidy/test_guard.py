"""The guard's own tools: a call graph is walked right, and what it cannot know is an error."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


def tool(name: str, project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(project_dir / "tools/guard"))
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@pytest.fixture
def target(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(project_dir / "tools/guard"))
    sys.modules.pop("target", None)
    return importlib.import_module("target")


CHAIN = """\
node: { title: "a" label: "a\\nx.c:1:1\\n16 bytes (static)\\n0 dynamic objects" }
node: { title: "x.c:b" label: "b\\nx.c:2:1\\n24 bytes (static)\\n0 dynamic objects" }
node: { title: "c" label: "c\\nx.c:3:1\\n8 bytes (static)\\n0 dynamic objects" }
edge: { sourcename: "a" targetname: "x.c:b" label: "x.c:1:5" }
edge: { sourcename: "a" targetname: "c" label: "x.c:1:6" }
edge: { sourcename: "c" targetname: "memcpy" label: "x.c:3:6" }
"""


def measured(target: ModuleType, folder: Path, text: str, name: str = "x") -> tuple[int, list[str]]:
    (folder / f"{name}.ci").write_text(text)
    stack, calls = target.graph([folder / f"{name}.o"])
    target.join_pointers(stack, calls)
    return target.deepest(stack, calls, "a")


def test_the_deepest_chain_is_found(target: ModuleType, tmp_path: Path) -> None:
    assert measured(target, tmp_path, CHAIN) == (40, ["a", "x.c:b"])


def test_recursion_is_an_error(target: ModuleType, tmp_path: Path) -> None:
    loop = 'edge: { sourcename: "x.c:b" targetname: "a" label: "x.c:2:5" }\n'
    with pytest.raises(ValueError, match="recursion: a b a"):
        measured(target, tmp_path, CHAIN + loop)


def test_stack_that_is_not_static_is_an_error(target: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dynamic"):
        measured(target, tmp_path, CHAIN.replace("8 bytes (static)", "8 bytes (dynamic)"))


def test_a_pointer_nobody_knows_is_an_error_and_a_known_one_is_followed(
    target: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CHAIN + 'edge: { sourcename: "c" targetname: "__indirect_call" label: "x.c:3:9" }\n'
    with pytest.raises(KeyError):
        measured(target, tmp_path, text)
    monkeypatch.setitem(target.POINTED, "x.c", "b")
    assert measured(target, tmp_path, text) == (48, ["a", "c", "x.c:b"])


@pytest.mark.slow("compiles the firmware for the microcontroller")
def test_the_firmware_fits_its_microcontroller(target: ModuleType, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc: make test-tools")
    objects = target.compile_all(tmp_path, 96)
    stack, calls = target.graph(objects)
    target.join_pointers(stack, calls)
    assert target.deepest(stack, calls, "ecu_step")[0] <= 1024
    assert all(data == 0 and zeroed == 0 for _, _, data, zeroed in target.sizes(objects))
    assert sum(row[1] for row in target.sizes(objects)) < 160 * 1024
    assert target.state_bytes(tmp_path, 96) < 96 * 1024


INJECTED = """\
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
static int32_t again(int32_t n) { return n == 0 ? 0 : again(n - 1); }
int32_t wrong(int32_t a, uint8_t *p);
int32_t wrong(int32_t a, uint8_t *p)
{
    int32_t octal = 017, b = a;
    union { int32_t i; float f; } u;
    u.i = a;
    if (a) b = 1;
    if (a == 1) { b = 2; } else if (a == 2) { b = 3; }
    switch (a) { case 1: b = 4; case 2: break; }
    goto end;
end:
    p = malloc(4);
    free(p);
    b += (a++, octal);
    while (b = 0) { }
    return again(b) + u.i;
}
"""


PLANTED = "int f(void);\nint f(void) { int a[4]; a[4] = 1; return a[0]; }\n"


@pytest.mark.slow("runs cppcheck")
def test_cppcheck_itself_finds_nothing_in_a_decoder_and_what_is_planted(
    project_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cppcheck") is None:
        pytest.skip("no cppcheck: make test-tools")
    misra = tool("misra", project_dir, monkeypatch)
    assert misra.errors([project_dir / "ext/firmware/isotp.c"]) == []
    (tmp_path / "wrong.c").write_text(PLANTED)
    assert "arrayIndexOutOfBounds" in " ".join(misra.errors([tmp_path / "wrong.c"]))


@pytest.mark.slow("runs cppcheck")
def test_planted_violations_of_misra_are_found(
    project_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cppcheck") is None:
        pytest.skip("no cppcheck: make test-tools")
    monkeypatch.syspath_prepend(str(project_dir / "tools/guard"))
    misra = importlib.import_module("misra")
    (tmp_path / "wrong.c").write_text(INJECTED)
    rules = {rule for _, _, rule in misra.find([tmp_path / "wrong.c"])}
    assert len(rules) >= 10
    assert {"7.1", "13.4", "15.1", "15.7", "16.3", "21.3"} <= rules, rules
    allowed = set(misra.reasons())
    assert not allowed & {"7.1", "15.1", "16.3", "21.3"}


# ---- coverage ----


@pytest.fixture
def coverage(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool("coverage", project_dir, monkeypatch)


def test_every_excuse_names_a_line_that_stands_in_its_file_and_a_reason(
    coverage: ModuleType, project_dir: Path
) -> None:
    for name, rows in coverage.excuses().items():
        source = (project_dir / "ext/firmware" / name).read_text().splitlines()
        for row in rows:
            gone = [line for line in row["lines"] if not coverage.places(source, line)]
            assert not gone, f"{name}: {gone}: tools/guard/unreachable.toml"
            assert len(row["reason"]) > 10


def test_what_is_missing_and_an_excuse_that_is_not_needed_are_told(
    coverage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "ext/firmware"
    place.mkdir(parents=True)
    (place / "x.c").write_text("int a;\nif (never) b();\nif (seldom) c();\n")
    monkeypatch.setattr(coverage, "ROOT", tmp_path)
    missing = [coverage.Place(2, "true"), coverage.Place(3, "true")]
    given = [{"lines": ["if (never) b();", "int a;"], "reason": ""}]
    left, wrong = coverage.judge("x.c", coverage.File(3, 4, 0, missing), given)
    assert left.missing == [coverage.Place(3, "true")]
    assert wrong == [
        "x.c: an excuse that is not needed: int a;",
        "x.c:3: never true: if (seldom) c();",
    ]


def test_sides_are_added_over_copies_of_a_function(coverage: ModuleType) -> None:
    branches = [[7, 9, 7, 14, 3, 0, 0, 0, 4], [7, 9, 7, 14, 0, 0, 0, 0, 4]]
    alone = [[7, 9, 7, 20, 0, 0, 5, [True, False]], [7, 9, 7, 20, 0, 0, 5, [False, False]]]
    text = ["x"] * 8 + ["    }"]
    found = coverage._file({"branches": branches, "mcdc_records": alone}, {7: 3, 8: 0, 9: 0}, text)
    assert (found.lines, found.branches, found.conditions) == (2, 2, 2)
    assert found.missing == [
        coverage.Place(7, "alone"), coverage.Place(7, "false"), coverage.Place(8, "line"),
    ]  # fmt: skip


# ---- mutants ----


@pytest.fixture
def mutate(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool("mutate", project_dir, monkeypatch)


SAMPLE = """\
#define NOT_THIS 1
/* if (a < b) nor this */
static int f(const int *p, int b)
{
    if (*p < b && b != 3) b += 2;
    p->q = b >> 1;
    return b;
}
"""


def test_each_kind_of_mutant_is_made_and_nothing_that_is_no_code(mutate: ModuleType) -> None:
    found = list(mutate.mutants("x.c", SAMPLE))
    texts = {SAMPLE[: m.start] + m.new + SAMPLE[m.end :] for m in found}
    assert len(texts) == len(found)
    assert {m.kind for m in found} == {
        "relation", "connective", "operator", "constant", "condition", "statement",
    }  # fmt: skip
    first = SAMPLE.index("static")
    assert all(m.start > first for m in found)
    changes = {(SAMPLE[m.start : m.end].strip(), m.new) for m in found}
    assert {("<", "<="), ("&&", "||"), ("!=", "=="), ("+=", "-="), (">>", "<<")} <= changes
    assert {("3", "2"), ("3", "4"), ("p->q = b >> 1;", ";")} <= changes
    assert ("(*p < b && b != 3)", "(!(*p < b && b != 3))") in changes


def test_every_survivor_has_a_verdict_and_every_verdict_a_survivor(mutate: ModuleType) -> None:
    rows = mutate.load()[1]
    alive = {mutate.key(row) for row in rows if not row.outcome}
    verdicts = mutate.reviewed()
    assert alive == set(verdicts)
    assert all(row["verdict"] in ("equivalent", "accepted") for row in verdicts.values())
    assert all(len(row["reason"]) > 10 for row in verdicts.values())


# ---- the page ----


def part(project_dir: Path, name: str) -> str:
    page = (project_dir / "docs/guard.md").read_text()
    return page.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]


def test_the_table_of_mutants_is_what_the_run_left(mutate: ModuleType, project_dir: Path) -> None:
    assert part(project_dir, "mutation").strip() == mutate.section(*mutate.load())


def test_the_page_knows_the_files_of_the_core(project_dir: Path) -> None:
    names = {p.name for p in (project_dir / "ext/firmware").glob("*.c")} - {"config_fields.c"}
    missing = {name for name in names if f"`{name}`" not in part(project_dir, "target")}
    assert not missing, "tools/guard/target.py"
    measured = set(re.findall(r"^\| `(\w+\.c)`", part(project_dir, "coverage"), re.MULTILINE))
    assert measured == names, "tools/guard/coverage.py"


def test_the_page_tells_every_excuse_and_no_less_than_the_ratchet(
    coverage: ModuleType, project_dir: Path
) -> None:
    told = part(project_dir, "coverage")
    assert told.strip().endswith(coverage.excused()), "tools/guard/coverage.py"
    figures = re.search(
        r"\*\*([\d.]+) %\*\* of \d+ lines, \*\*([\d.]+) %\*\* of \d+ branches.*?"
        r"\*\*([\d.]+) %\*\* of \d+ conditions",
        told,
    )
    assert figures
    reached = tuple(float(figure) for figure in figures.groups())
    assert all(a >= b for a, b in zip(reached, coverage.LEAST, strict=True)), reached


@pytest.mark.long("figures are taken anew before a release, not with each change of the firmware")
def test_the_figures_of_coverage_are_of_these_sources(
    coverage: ModuleType, project_dir: Path
) -> None:
    assert f"`{coverage.digest()}`" in part(project_dir, "coverage"), "tools/guard/coverage.py"


def test_sanitizers_found_nothing_in_nearly_all_claims_there_are(
    project_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tool("parts", project_dir, monkeypatch)
    told = re.search(
        r"\*\*0 findings\*\*.*?(\d+) claims", part(project_dir, "sanitizers"), re.DOTALL
    )
    claims = sum(map(len, parts.claims().values()))
    assert told and int(told[1]) > 0.9 * claims, "tools/guard/sanitize.py"


def test_each_reason_for_a_deviation_is_needed_and_each_deviation_has_one(
    project_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    misra = tool("misra", project_dir, monkeypatch)
    told = set(re.findall(r"^\| ([\d.]+) \|", part(project_dir, "misra"), re.MULTILINE))
    assert told == set(misra.reasons()), "tools/guard/misra.py --write"


def test_what_the_analyser_says_is_read(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eva = tool("eva", project_dir, monkeypatch)
    said = """  17 functions analyzed (out of 30): 56% coverage.
  In these functions, 295 statements reached (out of 295): 100% coverage.
  2 alarms generated by the analysis:
    Assertions        3 valid     1 unknown     0 invalid      4 total
    Preconditions    22 valid     0 unknown     1 invalid     23 total
"""
    assert eva.read(said) == (17, 295, 2, 25, 2)
    with pytest.raises(ValueError):
        eva.read("[kernel] aborted")
