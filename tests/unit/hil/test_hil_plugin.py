"""The plugin as installed: found by its entry point, light, and in nobody's way."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES_MOST = 3  # of its own, on top of what pytest imports
PLAIN = """
import sys
import pytest

@pytest.fixture
def rig():
    return "a drilling rig"

def test_of_somebody_else(rig, request):
    assert rig == "a drilling rig"
    assert request.config.pluginmanager.hasplugin("bms_hil.plugin")
    assert not {"bms", "numpy", "msgspec", "bms_hil.rig", "bms_hil.session"} & set(sys.modules)
"""
OWN = """
import pytest

@pytest.mark.requirement("OWN-1", text="It drives.", source="here")
def test_it_drives(rig, dut, recording):
    rig.bring_to("normal")
    rig.load(current_a=20.0)
    rig.wait(1.0)
    recording.signal("true_pack_current_a").after(0.5).stays_above(19.0)
    assert dut["rig"] == "sil"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like site-packages after `pip install`: our packages, the metadata that
    pyproject.toml makes, and everybody else's."""
    folder = tmp_path_factory.mktemp("site-packages")
    for place in site.getsitepackages():
        for entry in Path(place).iterdir():
            is_ours = entry.name.startswith(("solid_bms", "__editable__", "bms")) or (
                entry.suffix in (".pth", ".egg-link")
            )
            if not is_ours and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    (folder / "bms").symlink_to(ROOT / "src/bms")
    (folder / "bms_hil").symlink_to(ROOT / "hil")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = folder / "solid_bms-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: solid-bms\nVersion: 0\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def python(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With nothing on the path but the standard library and `installed`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-S", *arguments], cwd=cwd, env=kept | {"PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_imports_next_to_nothing(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pytest; had = set(sys.modules); import bms_hil.plugin\n"
        "print(*sorted(set(sys.modules) - had))"
    )
    done = python(installed, tmp_path, "-c", code)
    new = done.stdout.split()
    assert "bms_hil.plugin" in new, done.stderr
    assert len(new) <= MODULES_MOST, new


def test_it_is_loaded_and_harmless_in_an_unrelated_project(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(PLAIN)
    done = python(installed, tmp_path, "-m", "pytest", "-q", "-W", "error", "test_plain.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 passed")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] not in "._") == ["test_plain.py"]


@pytest.mark.slow("two runs in processes of their own")
def test_its_fixtures_work_for_who_only_installed_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    alone = python(installed, tmp_path, "-m", "pytest", "-q", "test_own.py")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    command = python(installed, tmp_path, "-m", "bms.cli", "hil", "test_own.py")
    assert command.returncode == 0, command.stdout + command.stderr
    assert (tmp_path / "out/hil-sil/report.html").exists()
