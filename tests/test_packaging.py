"""What is shipped works far from the source tree: sdist, wheel from it, environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

PARTS = ("src", "ext", "gui", "hil")
BUILT = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", "build")
HOOK = """import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"""

pytestmark = [
    pytest.mark.slow("compiles every module once more, without optimisation"),
    pytest.mark.xdist_group("packaging"),
]


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed, without settings that point at the tree."""
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BMS_ONLY", "BMS_CC")
    }
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return result.stdout


def build(kind: str, source: Path, into: Path) -> Path:
    """What the build backend makes of a source tree, compiled as quickly as can be."""
    said = run(sys.executable, "-c", HOOK, f"build_{kind}", into, cwd=source, BMS_CFLAGS="-O0")
    return into / said.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, place = Path(__file__).resolve().parents[1], tmp_path_factory.mktemp("tree")
    for part in PARTS:
        shutil.copytree(root / part, place / part, ignore=BUILT)
    for path in root.iterdir():
        if path.is_file():
            shutil.copy2(path, place)
    return build("sdist", place, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    (source,) = place.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel, which borrows our dependencies."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "venv", with_pip=False)
    scripts = place / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "-q")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel, cwd=place)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(scripts / "python", "-c", where, cwd=place).strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return scripts


def shipped(root: Path, *patterns: str) -> set[str]:
    found = (path for pattern in patterns for path in root.glob(pattern))
    built = {".so", ".pyc"}
    return {p.relative_to(root).as_posix() for p in found if p.suffix not in built}


def test_sdist_has_every_source(sdist: Path, project_dir: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = shipped(
        project_dir, "ext/**/*.h", "ext/bms/*.p*", "src/**/*.toml", "src/**/*.dbc", "src/**/*.py*"
    )
    wanted |= {
        name for name in shipped(project_dir, "ext/**/*.c") if not name.startswith("ext/bms/")
    }
    wanted |= {"LICENSE", "README.md", "DESIGN.md", "CHANGELOG.md", "setup.py"}
    assert not wanted - names
    assert not [name for name in names if name.endswith((".so", ".o"))]


def test_wheel_has_every_module_and_data_file_and_nothing_else(
    wheel: Path, project_dir: Path
) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    compiled = {Path(name).name.partition(".")[0] for name in names if name.endswith(".so")}
    assert compiled == {path.stem for path in (project_dir / "ext" / "bms").glob("_*.pyx")}
    data = shipped(project_dir / "src", "bms/**/*.*")
    assert not data - names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bms", "bms_gui", "bms_hil"}
    assert not [name for name in names if name.endswith((".pyx", ".c", ".h", ".o"))]


def test_installed_command_works_away_from_the_tree(
    installed: Path, tmp_path: Path, project_dir: Path
) -> None:
    version = run(installed / "bms", "--version", cwd=tmp_path)
    assert version.split()[-1] == "0.1.0"
    assert "doctor" in run(installed / "bms", "--help", cwd=tmp_path)
    checks = json.loads(run(installed / "bms", "doctor", "--json", cwd=tmp_path))["checks"]
    core = {check["name"]: check for check in checks if check["group"] == "core"}
    assert str(project_dir / "src") not in core["bms"]["detail"]
    assert all(check["works"] for check in core.values()), core


def test_installed_package_simulates(installed: Path, tmp_path: Path) -> None:
    text = (
        "import bms; run = bms.Simulation('drive', seed=1).run(3, record=False);"
        " print(run.summary['simulated_s'])"
    )
    assert float(run(installed / "python", "-c", text, cwd=tmp_path)) >= 3.0
