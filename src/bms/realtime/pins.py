"""Real input and output lines: `--pins gpiochip:CHIP:LINE=NAME,...` and its honest stand-in.

    gpiochip:/dev/gpiochip0:17=main_plus,27=main_minus,!5=interlock
    file:PATH:0=main_plus,...        one character '0' or '1' a line, for tests: no hardware at all

`!` marks a line that is low when the pin is 1. Names are those of spec/pins.toml. Pins that are not
named go on crossing as messages of the I/O module.

Output lines are not touched before the gate is armed (`--arm SECONDS`), are driven only while it
is, and are switched off when arming ends, when the runner stands still for 100 ms, and at the end.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

from bms import _realtime, spec
from bms.errors import ConfigError, LinkError

KINDS = {"gpiochip": 1, "file": 2}
LINES_MAX = 16
ARM_MAX_S = 86_400.0
EXPECTED = (
    "gpiochip:CHIP:LINE=NAME,... or file:PATH:LINE=NAME,..., `!` before a line that is low at 1"
)


@dataclass(frozen=True)
class Line:
    """One line: its number at the chip, the pin it carries, and whether it is low when that is
    1."""

    offset: int
    name: str
    bit: int
    inverted: bool


@dataclass(frozen=True)
class Wiring:
    """What --pins says. `inputs` are read and `outputs` driven by us."""

    kind: str
    path: str
    inputs: tuple[Line, ...]
    outputs: tuple[Line, ...]


def parse(text: str, *, reads: str) -> Wiring:
    """`reads` is the direction in spec/pins.toml that this side reads: "input" for the control
    unit, "output" for the emulated pack. ConfigError for what cannot be."""
    kind, _, rest = text.partition(":")
    path, _, pairs = rest.rpartition(":")
    if kind not in KINDS or not path or not pairs:
        raise ConfigError("option", "--pins", text, EXPECTED)
    if kind == "gpiochip" and "/" not in path:
        path = f"/dev/{path if path.startswith('gpiochip') else f'gpiochip{path}'}"
    pins = {pin.name: pin for pin in spec.pins()}
    found: dict[str, list[Line]] = {"input": [], "output": []}
    for pair in pairs.split(","):
        number, equals, name = pair.strip().partition("=")
        if not equals or not number.lstrip("!").isdecimal():
            raise ConfigError("option", "--pins", pair, EXPECTED)
        if name not in pins:
            raise ConfigError("option", "--pins", name, f"a pin: {', '.join(pins)}")
        line = Line(int(number.lstrip("!")), name, pins[name].bit, number.startswith("!"))
        found[pins[name].direction].append(line)
    lines = found["input"] + found["output"]
    if len(lines) > LINES_MAX:
        raise ConfigError("option", "--pins", len(lines), f"at most {LINES_MAX} lines")
    for what in ("name", "offset"):
        values = [getattr(line, what) for line in lines]
        if len(set(values)) < len(values):
            raise ConfigError("option", "--pins", text, f"every {what} once")
    drives = "output" if reads == "input" else "input"
    return Wiring(kind, path, tuple(found[reads]), tuple(found[drives]))


def mask(lines: tuple[Line, ...]) -> int:
    """Bits of the pins of these lines."""
    return sum(1 << line.bit for line in lines)


class Pins:
    """The lines of a runner, and the thread that looks after them."""

    def __init__(self, wiring: Wiring, runner: int, safe_levels: int) -> None:
        self.wiring = wiring
        self._lines = _realtime.Lines(runner)
        self._parts = self._lines.parts
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            self._fd = os.open(wiring.path, flags)
        except OSError as error:
            raise LinkError(f"{wiring.path}: {error.strerror}; {_hint(wiring)}") from error
        self._fill(safe_levels)
        try:
            self._lines.open()
        except OSError as error:
            os.close(self._fd)
            raise LinkError(f"{wiring.path}: the lines are refused: {error.strerror}") from error
        self._thread: threading.Thread | None = None

    def _fill(self, safe_levels: int) -> None:
        fields = self._parts["lines"]
        fields["kind"][0], fields["fd"][0] = KINDS[self.wiring.kind], self._fd
        fields["safe_in"][0] = safe_levels
        for side, lines in (("in", self.wiring.inputs), ("out", self.wiring.outputs)):
            fields[f"{side}_count"][0] = len(lines)
            for k, line in enumerate(lines):
                fields[f"{side}_offset"][k], fields[f"{side}_bit"][k] = line.offset, line.bit
                fields[f"{side}_inverted"][0] |= int(line.inverted) << k

    def start(self, arm_s: float, priority: int) -> None:
        """Look after the lines from now on; armed for `arm_s` seconds, 0 not at all.

        The thread comes before its runner, which it may have to switch off."""
        if arm_s > 0:
            self.arm(arm_s)
        above = priority + 1 if priority else 0
        self._thread = threading.Thread(target=self._lines.run, args=(above,), name="bms-pins")
        self._thread.start()

    def arm(self, seconds: float) -> None:
        """Drive outputs for so long from now on; 0 ends it. ConfigError for what is no span."""
        if not 0.0 <= seconds <= ARM_MAX_S:
            raise ConfigError("request", "arm", seconds, f"0 to {ARM_MAX_S:g} s")
        self._lines.arm(seconds)

    def close(self) -> None:
        """After the runner was told to stop: outputs off and released."""
        if self._thread is not None:
            self._thread.join()
        os.close(self._fd)

    def status(self, now_us: int) -> dict[str, Any]:
        """For people and scripts; `left_s` is what is left of arming."""
        gate, lines = self._parts["gate"], self._parts["lines"]
        state = _realtime.GATE_STATES[int(gate["state"][0])]
        left_us = int(gate["until_us"][0]) - now_us if state == "armed" else 0
        return {
            "lines": f"{self.wiring.kind}:{self.wiring.path}",
            "hardware": self.wiring.kind == "gpiochip",
            "gate": state,
            "left_s": round(max(left_us, 0) * 1e-6, 1),
            "levels": int(gate["levels"][0]),
            "drops": int(gate["drops"][0]),
            "stalls": int(gate["stalls"][0]),
            "errors": int(lines["errors"][0]),
        }


def _hint(wiring: Wiring) -> str:
    if wiring.kind == "file":
        return "make the file first, one character a line"
    return "gpiodetect lists what is there, and its group (often gpio) may open it"
