"""The frame every benchmark runs in."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bms import bench
from bms.bench import Row, interleaved, measured
from bms.bench.peers import PEERS, Peer
from bms.cli import bench as command
from bms.errors import ConfigError

KEYS = ["name", "ours", "unit", "better", "peer", "peer_name", "limit", "limit_source"]


def ask(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return command.run(parser.parse_args(list(words)))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A benchmark module called made_up, findable by name."""
    module = ModuleType("bms.bench.made_up", "Something measured.\n\nMore words.")
    missing = Peer("Nobody", "no_such_module_here", "nobody==1")

    def rows(options: argparse.Namespace) -> list[Row]:
        ours = float(options.repetitions * options.scale)
        return [
            Row(
                name="speed", ours=ours, unit="x", better="higher", limit=40.0, limit_source="rule"
            ),
            Row(
                name="time", ours=2.0, unit="s", better="lower", limit=1.0, peer=None,
                peer_name=missing.title, peer_install=missing.install,
            ),
        ]  # fmt: skip

    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--scale", type=int, default=1)

    module.__dict__.update(rows=rows, arguments=arguments)
    monkeypatch.setitem(sys.modules, "bms.bench.made_up", module)
    monkeypatch.setattr(bench, "names", lambda: ["made_up"])
    fake_result = ModuleType("bms.result")
    fake_result.__dict__["commit"] = lambda: "0123456789ab"
    monkeypatch.setitem(sys.modules, "bms.result", fake_result)
    return module


@pytest.mark.usefixtures("made_up")
def test_json_is_one_object_with_exactly_the_published_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ask("made_up", "--json", "--repetitions", "3", "--scale", "4") == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["bench", "machine", "commit", "rows"]
    assert said["bench"] == "made_up" and said["commit"] == "0123456789ab"
    assert [list(row) for row in said["rows"]] == [KEYS, KEYS]
    assert said["rows"][0]["ours"] == 12.0 and said["rows"][1]["peer"] is None
    assert {"cpu", "cores", "governor", "python", "compiler", "os"} <= set(said["machine"])


@pytest.mark.usefixtures("made_up")
def test_table_tells_how_to_install_a_missing_peer_and_how_near_the_limit_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ask("made_up", "--repetitions", "10") == 0
    said = capsys.readouterr().out
    assert "pip install nobody==1" in said
    assert "25%" in said and "50%" in said  # 10 of 40 where higher is better; 1 of 2 where lower is


@pytest.mark.usefixtures("made_up")
def test_without_a_name_the_list_of_titles_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask() == 0
    assert capsys.readouterr().out.split(maxsplit=1) == ["made_up", "Something measured.\n"]


def test_unknown_benchmark_is_a_configuration_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="expected one of") as caught:
        ask("no_such")
    assert caught.value.exit_code == 2


def test_every_benchmark_file_has_rows_and_a_title() -> None:
    for name in bench.names():
        module = bench.load(name)
        assert callable(module.rows), name
        assert module.__doc__ and module.__doc__.strip().splitlines()[0], name


def test_sides_are_measured_in_turns_and_none_is_always_first() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    spread = interleaved({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]  # first the unrecorded round
    assert spread["a"] == measured([3.0, 6.0, 7.0]) and spread["a"].median == 6.0
    assert (spread["b"].lowest, spread["b"].highest, spread["b"].count) == (4.0, 8.0, 3)


def test_every_peer_says_how_to_get_it_and_missing_ones_load_as_none() -> None:
    for peer in PEERS.values():
        assert peer.install.startswith("pip install ") and peer.title
    assert Peer("x", "no_such_module_here", "x").load() is None


def test_compiler_mark_is_read_from_a_compiled_file(tmp_path: Path) -> None:
    gcc, clang, other = tmp_path / "g.so", tmp_path / "c.so", tmp_path / "o.so"
    gcc.write_bytes(b"\x00GCC: (Debian 12.2.0-14) 12.2.0\x00")
    clang.write_bytes(b"\x00Debian clang version 14.0.6\x00")
    other.write_bytes(b"\x00nothing\x00")
    assert bench.compiler_of(gcc) == "GCC: (Debian 12.2.0-14) 12.2.0"
    assert bench.compiler_of(clang) == "Debian clang version 14.0.6"
    assert bench.compiler_of(other) is None
