"""The frame of the command line: finding commands, how they end, what is told on which stream."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bms import __version__, cli

PLUGIN = '''
"""Does what a test wants."""
import sys, time
from bms.errors import ConfigError
HELP = "a plugin"
def arguments(parser):
    parser.add_argument("what")
def run(args):
    if args.what == "config":
        raise ConfigError("file.toml", "key", 3, "4")
    if args.what == "defect":
        raise ValueError("a defect")
    if args.what == "print":
        for k in range(100000):
            print(k)
    if args.what == "wait":
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("closed", flush=True)
    return 7 if args.what == "seven" else 0
'''


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """The environment of a process that has a package with one more command."""
    (tmp_path / "other_package.py").write_text(PLUGIN)
    metadata = tmp_path / "other_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text(
        "[console_scripts]\nx = y:z\n\n[bms.commands]\nother = other_package\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(cli.__file__).parents[2])])
    return {**os.environ, "PYTHONPATH": path}


def bms(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bms.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bms.cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_help_lists_every_command_with_its_line(environment, capsys):
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    files = Path(cli.__file__).parent.glob("[a-z]*.py")
    assert {"run", "demo", "info", "repair", "report"} <= set(cli.commands())
    for file in files:
        assert f"  {file.stem.replace('_', '-')} " in told, f"{file} has no HELP"
    assert "other_package" in bms(environment, "--help").stdout


def test_every_command_explains_itself(capsys):
    for name in cli.commands():
        with pytest.raises(SystemExit) as end:
            cli.main([name, "--help"])
        assert end.value.code == 0
        assert f"usage: bms {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy(environment):
    code = "import sys; from bms.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    loaded = set(done.stdout.rsplit("\n", 2)[-2].split())
    assert "bms.cli" in loaded
    assert not loaded & {"numpy", "msgspec", "pyarrow", "rich", "matplotlib", "importlib.metadata"}


def test_a_typo_is_told_what_was_meant(capsys):
    assert cli.main(["repiar"]) == 2
    assert "did you mean repair" in capsys.readouterr().err
    assert cli.main(["zzzzzz"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"bms {__version__}\n"


def test_an_unknown_option_is_bad_input(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["info", "--nonsense"])
    assert end.value.code == 2


def test_a_command_of_another_package_runs(environment):
    done = bms(environment, "other", "seven")
    assert done.returncode == 7 and done.stderr == ""


def test_bad_input_is_one_message_and_exit_code_2(environment):
    done = bms(environment, "other", "config")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "bms: file.toml: key: got 3, expected 4\n"


def test_a_defect_keeps_its_traceback(environment):
    done = bms(environment, "other", "defect")
    assert done.returncode == 1 and "Traceback" in done.stderr and "a defect" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_an_interrupted_command_cleans_up_and_says_how_it_ended(environment, number, code):
    child = start(environment, "other", "wait")
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert out == "closed\n" and child.returncode == code and "Traceback" not in err


def test_a_reader_that_leaves_early_is_no_error(environment):
    child = start(environment, "other", "print")
    assert child.stdout is not None and child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(60) == cli.BROKEN_PIPE
    child.stderr.close()
