"""What is generated is what the spec says now, and it compiles."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bms import spec

ROOT = Path(__file__).resolve().parents[3]
STRICT = [
    "-std=c99",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Wswitch-enum",
    "-Werror",
]


def load_generator():
    found = importlib.util.spec_from_file_location("generate", ROOT / "tools" / "generate.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


generate = load_generator()


def test_generating_again_leaves_no_difference() -> None:
    import cantools

    same_tool = cantools.__version__ == generate.CANTOOLS
    for path, text in generate.outputs().items():
        if same_tool or not path.name.startswith("bms_dbc"):
            assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make generate`"


def test_a_changed_spec_changes_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail."""
    before = generate.diagnoses_h()
    monkeypatch.setattr(spec, "diagnoses", lambda: spec.read_diagnoses(spec.DIAGNOSES)[:-1])
    assert generate.diagnoses_h() != before


def test_generated_files_carry_no_date_and_no_version() -> None:
    for path, text in generate.outputs().items():
        assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d|version \d", text), path.name


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_generated_c_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    use = tmp_path / "use.c"
    use.write_text(
        '#include "diagnoses.h"\n#include "pins.h"\n#include "schedule.h"\n'
        '#include "e2e.h"\n#include "bms_dbc.h"\n'
        "int use(uint8_t *d, uint8_t *c);\n"
        "int use(uint8_t *d, uint8_t *c) {\n"
        "  e2e_p01_rx_t rx = {E2E_P01_NO_COUNTER}; e2e_p01_protect(256u, d, 8u, c);\n"
        "  return (int)e2e_is_usable(e2e_p01_check(&rx, 256u, d, 8u))\n"
        "    + diagnosis_table[DIAG_CRASH].reaction + message_schedule[0].id; }\n"
    )
    folder = ROOT / "ext" / "firmware" / "generated"
    include = [f"-I{folder}", f"-I{ROOT / 'ext' / 'common'}"]
    free = ["-ffreestanding"] if compiler.startswith("arm") else []
    for source in (use, folder / "bms_dbc.c"):
        done = subprocess.run(
            [compiler, *STRICT, *free, *include, "-c", str(source), "-o", str(tmp_path / "x.o")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_the_c_table_says_what_the_toml_says(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler here")
    source = tmp_path / "print.c"
    source.write_text(
        '#include "diagnoses.h"\n#include <stdio.h>\nint main(void) {'
        " for (unsigned k = 0; k < DIAG_COUNT; ++k) {"
        " const diagnosis_row_t *r = &diagnosis_table[k];"
        ' printf("%u %u %u %u %u %u %u %u %u %d %d %d\\n",'
        " r->id, r->group, r->reaction, r->tiers, r->latch,"
        " r->service, r->debounce_samples, (unsigned)r->debounce_ms, (unsigned)r->deadline_ms,"
        " (int)r->threshold[1], (int)r->threshold[2], (int)r->threshold[3]); } return 0; }\n"
    )
    program = tmp_path / "print"
    include = f"-I{ROOT / 'ext' / 'firmware' / 'generated'}"
    subprocess.run([compiler, "-std=c99", include, str(source), "-o", str(program)], check=True)
    printed = subprocess.run(
        [str(program)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = {row.id: row for row in spec.diagnoses()}
    assert len(printed) == max(rows) + 1
    for k, line in enumerate(printed):
        numbers = [int(x) for x in line.split()]
        if k not in rows:
            assert numbers == [0] * 12
            continue
        row = rows[k]
        assert numbers == [
            row.id, spec.GROUPS.index(row.group), spec.REACTIONS.index(row.reaction),
            sum(1 << spec.Tier[t] for t in row.tiers), row.latch, row.service,
            row.debounce_samples, row.debounce_ms, row.deadline_ms, *row.thresholds,
        ]  # fmt: skip


def test_pin_masks_are_the_bits(tmp_path: Path) -> None:
    text = generate.pins_h()
    masks = dict(re.findall(r"#define (PIN_\w+) \(1u << (\d+)\)", text))
    assert masks == {
        f"PIN_{'IN' if p.direction == 'input' else 'OUT'}_{p.name.upper()}": str(p.bit)
        for p in spec.pins()
    }
    assert "#define PIN_OUT_SAFE 0u" in text


def test_the_schedule_holds_every_cyclic_message_of_the_bms() -> None:
    rows = re.findall(r"\{0x(\w+)u, (\d+)u, (\d+)u, (\w+)\}", generate.schedule_h())
    found = {int(number, 16): (int(period), protected) for number, period, _, protected in rows}
    assert found == {
        m.frame_id: (m.cycle_time, "true" if "E2EProfile" in m.dbc.attributes else "false")
        for m in spec.database().messages
        if m.senders == ["BMS"] and m.cycle_time
    }
    assert all(int(start) < int(period) and int(start) % 10 == 0 for _, period, start, _ in rows)
