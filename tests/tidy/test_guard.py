"""The guard's own tools: a call graph is walked right, and what it cannot know is an error."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


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
    assert not allowed & {"7.1", "15.1", "15.7", "16.3", "21.3"}
