"""tools/bootstrap.py does what is needed and nothing twice."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def tree(tmp_path: Path, project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, looking at a small tree of its own; commands are written down, not run."""
    spec = importlib.util.spec_from_file_location(
        "bootstrap", project_dir / "tools" / "bootstrap.py"
    )
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n',
        "setup.py": "",
        "ext/bms/_a.pyx": "",
        "ext/a.c": "int a;",
        ".venv/keep": "",
        "src/bms/_a.cpython-311.so": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    commands: list[str] = []
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(script, "STAMP", tmp_path / ".venv" / ".bootstrap.json")
    monkeypatch.setattr(script, "system_packages", list)
    monkeypatch.setattr(script, "environment_works", lambda: True)
    monkeypatch.setattr(
        script, "run", lambda *words, **_: commands.append(" ".join(map(str, words)))
    )
    script.commands = commands  # type: ignore[attr-defined]
    for name in ("CC", "BMS_CC", "BMS_CFLAGS"):
        monkeypatch.delenv(name, raising=False)
    return script


def done(script: ModuleType, *extras: str) -> list[str]:
    """What one call runs."""
    script.commands.clear()
    script.bootstrap(list(extras))
    return list(script.commands)


def test_a_second_call_does_nothing(tree: ModuleType) -> None:
    assert len(done(tree)) == 2
    assert done(tree) == []


def test_a_changed_c_file_compiles_and_installs_nothing(tree: ModuleType) -> None:
    done(tree)
    (tree.ROOT / "ext" / "a.c").write_text("int b;", "utf-8")
    (command,) = done(tree)
    assert "build_ext --inplace" in command
    assert done(tree) == []


def test_a_lost_module_is_compiled_again(tree: ModuleType) -> None:
    done(tree)
    (tree.ROOT / "src" / "bms" / "_a.cpython-311.so").unlink()
    (command,) = done(tree)
    assert "build_ext --inplace" in command


def test_extras_add_up(tree: ModuleType) -> None:
    assert done(tree)[-1].endswith(str(tree.ROOT))
    assert done(tree, "test")[-1].endswith("[test]")
    assert done(tree) == []
    assert done(tree, "gui")[-1].endswith("[gui,test]")


def test_another_compiler_starts_from_nothing(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(tree)
    (tree.ROOT / "build").mkdir()
    monkeypatch.setenv("BMS_CC", "clang")
    monkeypatch.setenv("CC", "")  # bootstrap sets it; put back afterwards
    (command,) = done(tree)
    assert "build_ext" in command
    assert not (tree.ROOT / "build").exists() and not list(tree.ROOT.glob("src/bms/*.so"))


def test_an_interrupted_build_is_taken_up_again(tree: ModuleType) -> None:
    done(tree)
    (tree.ROOT / "ext" / "a.c").write_text("int b;", "utf-8")

    def stop(*_words: object, **_: str) -> None:
        raise SystemExit(1)

    tree.run, record = stop, tree.run
    with pytest.raises(SystemExit):
        tree.bootstrap([])
    tree.run = record
    assert done(tree) != []


def test_without_root_the_exact_line_is_printed(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tree, "system_packages", lambda: ["python3-venv", "python3-dev"])
    with pytest.raises(SystemExit) as stopped:
        tree.bootstrap([])
    assert stopped.value.code == 1 and not tree.commands
    line = "sudo apt-get install -y --no-install-recommends python3-venv python3-dev"
    assert line in capsys.readouterr().out


def test_as_root_what_is_missing_is_installed(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tree.shutil, "which", lambda _tool: "found")
    monkeypatch.setattr(tree, "system_packages", lambda: ["python3-dev"])
    commands = done(tree)
    assert commands[0].startswith("apt-get update")
    assert commands[1].startswith("apt-get install") and commands[1].endswith(" python3-dev")
