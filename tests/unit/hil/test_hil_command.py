"""`bms hil` as people and programs call it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
OWN = """
import pytest

@pytest.mark.requirement("OWN-1", text="It drives.", source="here")
def test_it_drives(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=20.0)
    rig.wait(1.0)
    recording.signal("true_pack_current_a").after(0.5).stays_above(19.0)

@pytest.mark.requirement("OWN-1")
def test_it_cannot_fly(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=20.0)
    rig.wait(1.0)
    recording.signal("true_pack_current_a").stays_below(5.0)

@pytest.mark.requirement("OWN-1")
@pytest.mark.needs("a_moon")
def test_on_the_moon(rig):
    raise AssertionError("never run")
"""


def hil(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bms.cli", "hil", *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow("the whole suite in a process of its own")
def test_the_whole_suite_passes_in_virtual_time(tmp_path: Path) -> None:
    done = hil("--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
    told = lines(tmp_path / "e.jsonl")
    assert told[0]["event"] == "start" and told[-1]["event"] == "end"
    tests = [t for t in told if t["event"] == "test"]
    skipped = [t["text"] for t in tests if t["verdict"] == "skip"]
    assert set(skipped) <= {"rig sil has no target"}
    assert told[0]["tests"] == len(tests) == told[-1]["passed"] + len(skipped)
    assert all(t["requirements"] for t in tests)
    page = (tmp_path / told[-1]["report"]).read_text()
    assert "Reaction times" in page and "<svg" in page and "http" not in page.split("</style>")[1]
    assert (tmp_path / "out/hil-sil/junit.xml").exists()


def test_own_tests_with_own_requirements_run_in_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    done = hil("test_own.py", "--events", "e.jsonl", "--report", "r/page.html", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 skipped" in done.stdout.splitlines()[-1]
    told = {t["id"].rpartition("::")[2]: t for t in lines(tmp_path / "e.jsonl") if "id" in t}
    failed = told["test_it_cannot_fly"]
    assert failed["verdict"] == "fail" and failed["limit"] == 5.0
    assert 19.0 < failed["measured"] < 21.0 and failed["unit"] == "A"
    assert Path(tmp_path, failed["recording"]).exists()
    assert told["test_on_the_moon"]["verdict"] == "skip"
    assert "no a_moon" in told["test_on_the_moon"]["text"]
    page = (tmp_path / "r/page.html").read_text()
    assert "It drives." in page and "OWN-1" in page
    for about in ("commit", "configuration hash", "firmware config hash", "seed"):
        assert f"<dt>{about}</dt><dd>" in page and f"<dt>{about}</dt><dd></dd>" not in page


def test_events_on_stdout_are_nothing_but_json(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    done = hil("test_own.py", "-k", "drives", "--events", "-", cwd=tmp_path)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [t["event"] for t in told] == ["start", "test", "end"]
    assert done.returncode == 0


def test_repeated_tests_run_each_time(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    done = hil("test_own.py", "-k", "drives", "--repeat", 3, cwd=tmp_path)
    assert "3 passed" in done.stdout.splitlines()[-1]


def test_a_requirement_without_a_test_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN.replace("stays_below(5.0)", "stays_below(50.0)"))
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked/x.toml").write_text(
        'title = "x"\n[[requirement]]\nid = "OWN-2"\ntext = "t."\nsource = "s"\n'
    )
    done = hil("test_own.py", "--requirements", "asked", cwd=tmp_path)
    assert done.returncode == 1
    assert "OWN-2: no test verifies it" in done.stdout


@pytest.mark.parametrize("rig", ["mars", "there/is/none.toml"])
def test_a_wrong_rig_stops_before_the_first_test(tmp_path: Path, rig: str) -> None:
    done = hil("--rig", rig, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("bms: ") and len(done.stderr.splitlines()) == 1


def test_the_plugin_leaves_other_projects_alone(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import sys\n\ndef test_x():\n"
        "    assert 'numpy' not in sys.modules and 'bms_hil.session' not in sys.modules\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "bms_hil.plugin",
        "-p",
        "no:hypothesispytest",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.slow("a compiled device and the whole suite")
def test_the_naive_device_fails_honestly(tmp_path: Path) -> None:
    folder = tmp_path / "naive"
    shutil.copytree(ROOT / "examples/naive_bms", folder)
    places = ["-I", str(ROOT / "ext/firmware"), "-I", str(ROOT / "ext/firmware/generated")]
    source, library = str(folder / "naive.c"), str(folder / "naive.so")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    subprocess.run(["cc", "-shared", "-fPIC", *strict, *places, source, "-o", library], check=True)
    done = hil("--rig", folder / "rig.toml", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = {t["id"].rpartition("::")[2]: t for t in lines(tmp_path / "e.jsonl") if "id" in t}
    assert told["test_an_open_interlock_trips"]["verdict"] == "pass"
    assert told["test_the_crash_line_opens_at_once"]["verdict"] == "pass"
    blind = told["test_one_cell_far_above_the_others_trips[7]"]
    assert blind["verdict"] == "fail" and blind["limit"] == 500 and blind["measured"] is None
    report = Path(tmp_path, lines(tmp_path / "e.jsonl")[-1]["report"]).read_text()
    assert "Naive BMS" in report and "does not hold" in report


FOREIGN = """
def test_theirs():
    assert 1 + 1 == 2
"""
USES = """
def test_a_rig(rig, recording):
    rig.bring_to("standby")
    rig.wait(0.5)
    recording.trips.never()
"""


def test_a_foreign_project_gets_a_rig_when_it_asks_and_nothing_when_not(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(FOREIGN)
    (tmp_path / "test_uses.py").write_text(USES)
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "bms_hil.plugin"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout and done.returncode == 0, done.stdout + done.stderr
    left = {p.name for p in tmp_path.iterdir()} - {"__pycache__", ".pytest_cache"}
    assert left == {"test_theirs.py", "test_uses.py"}, "the plugin leaves nothing behind"
