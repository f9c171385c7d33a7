"""Real lines: what --pins means, and that a file in their place obeys the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from bms import _realtime, spec
from bms.errors import ConfigError, LinkError
from bms.realtime import pins
from bms.realtime.pins import Pins

INTERLOCK, MAIN_PLUS, MAIN_MINUS = 0b10, 0b001, 0b010


def test_a_chip_its_lines_and_their_sense() -> None:
    wiring = pins.parse("gpiochip:0:17=main_plus,!5=interlock,6=crash", reads="input")
    assert (wiring.kind, wiring.path) == ("gpiochip", "/dev/gpiochip0")
    assert [(x.offset, x.name, x.inverted) for x in wiring.outputs] == [(17, "main_plus", False)]
    assert [(x.offset, x.name, x.inverted) for x in wiring.inputs] == [
        (5, "interlock", True),
        (6, "crash", False),
    ]
    assert pins.mask(wiring.inputs) == INTERLOCK | 0b100


def test_the_emulated_pack_reads_what_the_control_unit_drives() -> None:
    wiring = pins.parse("file:/x:0=main_plus,1=interlock", reads="output")
    assert [x.name for x in wiring.inputs] == ["main_plus"]
    assert [x.name for x in wiring.outputs] == ["interlock"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "gpiochip:CHIP"),
        ("gpiochip:0", "gpiochip:CHIP"),
        ("relay:0:1=main_plus", "relay"),
        ("gpiochip:0:x=main_plus", "x=main_plus"),
        ("gpiochip:0:1=nothing", "nothing"),
        ("gpiochip:0:1=main_plus,1=main_minus", "offset"),
        ("gpiochip:0:1=main_plus,2=main_plus", "name"),
    ],
)
def test_what_cannot_be_is_refused(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        pins.parse(text, reads="input")


def test_a_chip_that_is_not_there_is_one_sentence() -> None:
    wiring = pins.parse("gpiochip:/dev/no-such-chip:1=main_plus", reads="input")
    with pytest.raises(LinkError, match="gpiodetect"):
        Pins(wiring, _realtime.Runner().address, 0)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_span_that_is_none_arms_nothing(tmp_path: Path, seconds: float) -> None:
    (tmp_path / "lines").write_text("0")
    wiring = pins.parse(f"file:{tmp_path / 'lines'}:0=main_plus", reads="input")
    runner = _realtime.Runner()
    looked = Pins(wiring, runner.address, 0)
    with pytest.raises(ConfigError, match="arm"):
        looked.arm(seconds)
    assert looked.status(0)["gate"] == "never armed"
    looked.close()


@pytest.fixture
def lines(tmp_path: Path) -> tuple[Path, _realtime.Runner, _realtime.Lines]:
    """A file of four lines: main_plus, main_minus (low at 1), interlock, crash."""
    path = tmp_path / "lines"
    path.write_text("0110")
    runner = _realtime.Runner()
    safe = sum(1 << p.bit for p in spec.pins() if p.direction == "input" and p.safe)
    wiring = pins.parse(f"file:{path}:0=main_plus,!1=main_minus,2=interlock,3=crash", reads="input")
    return path, runner, Pins(wiring, runner.address, safe)._lines


def test_lines_are_not_touched_before_they_were_armed(
    lines: tuple[Path, _realtime.Runner, _realtime.Lines],
) -> None:
    path, runner, looked = lines
    runner.set(1000, MAIN_PLUS | MAIN_MINUS)
    looked.step(1000)
    assert path.read_text() == "0110"
    assert runner.lines_in == INTERLOCK


def test_armed_lines_follow_and_are_off_when_arming_ends(
    lines: tuple[Path, _realtime.Runner, _realtime.Lines],
) -> None:
    path, runner, looked = lines
    looked.arm(0.05)
    runner.set(1000, MAIN_PLUS | MAIN_MINUS)
    looked.step(1000)
    assert path.read_text() == "1010"
    runner.set(51_000, MAIN_PLUS | MAIN_MINUS)
    looked.step(51_000)
    assert path.read_text() == "0110", "main minus is low at 1: off is high"
    looked.step(52_000)
    assert path.read_text() == "0110"


def test_a_runner_that_hangs_loses_the_lines_within_a_look(
    lines: tuple[Path, _realtime.Runner, _realtime.Lines],
) -> None:
    path, runner, looked = lines
    looked.arm(60.0)
    runner.set(1000, MAIN_PLUS)
    looked.step(1000)
    assert path.read_text()[0] == "1"
    looked.step(100_000)
    assert path.read_text()[0] == "1"
    looked.step(101_001)
    assert path.read_text()[0] == "0"
    runner.set(102_000, MAIN_PLUS)
    looked.step(102_000)
    assert path.read_text()[0] == "0", "a runner that moves again is not enough"
    looked.arm(60.0)
    looked.step(102_001)
    assert path.read_text()[0] == "1"


def test_inputs_that_cannot_be_read_are_at_their_safe_levels(
    lines: tuple[Path, _realtime.Runner, _realtime.Lines],
) -> None:
    path, runner, looked = lines
    path.write_text("01?0")
    looked.step(1000)
    safe = sum(pin.mask for pin in spec.pins() if pin.direction == "input" and pin.safe)
    assert runner.lines_in == safe
    assert int(looked.parts["lines"]["errors"][0]) == 1
