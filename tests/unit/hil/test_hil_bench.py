"""Instruments of a bench: nothing beyond its limits is sent, what was set is read back, all goes
off."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from bms_hil import adapters
from bms_hil.adapters import bloomy_bs1200
from bms_hil.bench import Bench, Beyond, Limits

from bms import links
from bms.errors import BmsError, ConfigError, LinkError

pytest.importorskip("pyvisa_sim", reason="pip install 'solid-bms[lab]'")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SIM = str(Path(adapters.__file__).parents[1] / "rigs" / "lab.yaml") + "@sim"
CHARGER = "TCPIP::127.0.0.1::inst2::INSTR"
BOX = "TCPIP::127.0.0.1::5025::SOCKET"
ROLES: dict[str, dict[str, Any]] = {
    "cells": {"adapter": "bloomy_abs", "resources": [BOX], "visa": SIM},
    "supply": {"adapter": "scpi_supply", "resource": "TCPIP::127.0.0.1::inst0::INSTR", "visa": SIM},
    "load": {"adapter": "scpi_load", "resource": "TCPIP::127.0.0.1::inst1::INSTR", "visa": SIM},
    "charger": {"adapter": "scpi_charger", "resource": "TCPIP::127.0.0.1::inst2::INSTR",
                "visa": SIM},
    "lines": {"adapter": "bloomy_abs_lines", "resource": BOX, "visa": SIM,
              "lines": {"interlock": 1, "crash": 2}},
}  # fmt: skip
LIMITS = Limits(
    cell_voltage_v=(0.0, 4.5), cell_current_a=0.5, supply_voltage_v=15.0, supply_current_a=3.0,
    load_current_a=20.0, charger_voltage_v=67.2, charger_current_a=10.0,
)  # fmt: skip


def asked(query: str, resource: str = BOX) -> str:
    """What a simulated instrument says, past the bench."""
    import pyvisa

    name = resource.replace("TCPIP::", "TCPIP0::")
    device = pyvisa.ResourceManager(SIM).visalib.devices[name]  # type: ignore[attr-defined]
    return bytes(device._match(query.encode())).decode()


@pytest.fixture
def bench() -> Any:
    made = Bench(ROLES, LIMITS, "rig.toml")
    yield made
    made.close()


def test_every_adapter_is_found_and_states_what_it_is() -> None:
    for name in adapters.names():
        module = __import__(f"bms_hil.adapters.{name}", fromlist=["ROLE"])
        assert module.ROLE in adapters.ROLES and module.Options and module.open
        assert "ot verified" in module.__doc__ or "never tried" in module.__doc__


@pytest.mark.parametrize("beyond_v", [4.51, -0.01, float("nan"), 400.0])
def test_a_voltage_beyond_the_limits_never_leaves(bench: Bench, beyond_v: float) -> None:
    bench.set_cells({0: 3.7, 1: 3.6}, check=False)
    with pytest.raises(Beyond, match="limits of the rig file"):
        bench.set_cells({0: 3.9, 1: beyond_v}, check=False)
    assert (asked("SOUR1:VOLT?"), asked("SOUR2:VOLT?")) == ("3.7000", "3.6000")


def test_supply_load_and_lines_are_limited_too(bench: Bench) -> None:
    for what in (
        lambda: bench.supply(15.1),
        lambda: bench.load(20.1),
        lambda: bench.load(-1.0),
        lambda: bench.charge(10.1, 67.2),
        lambda: bench.charge(10.0, 67.3),
        lambda: bench.temperature(25.0),
        lambda: bench.line("horn", True),
        lambda: bench.set_cells({8: 3.0}, check=False),
    ):
        with pytest.raises(Beyond):
            what()
    assert asked("OUTP?", "TCPIP::127.0.0.1::inst0::INSTR") == "0"
    assert asked("INP?", "TCPIP::127.0.0.1::inst1::INSTR") == "0"
    assert asked("OUTP?", CHARGER) == "0"


def test_what_does_not_read_back_switches_everything_off(bench: Bench) -> None:
    bench.set_cells({0: 3.7}, check=False)
    bench.enable_cells()
    bench.line("interlock", True)
    with pytest.raises(BmsError, match=r"cell 0: set to 3.8 V, read back 0 V.*everything is off"):
        bench.set_cells({0: 3.8})  # nothing moves the simulated terminals here
    assert [asked(f"OUTP{n}?") for n in range(1, 9)] == ["0"] * 8
    assert asked("SOUR:DAUX:OUT1?") == "0" and asked("SOUR1:VOLT?") == "0.0000"


def test_closing_forgetting_and_the_interpreters_end_switch_off(bench: Bench) -> None:
    import atexit

    bench.set_cells({0: 3.7}, check=False)
    bench.enable_cells()
    assert asked("OUTP1?") == "1"
    bench._used_s -= 1000.0
    bench.look()
    assert asked("OUTP1?") == "0"
    with pytest.raises(BmsError, match="was not used"):
        bench.use()
    bench.went_off = ""
    bench.enable_cells()
    atexit.unregister(bench.close)
    bench.close()
    bench.close()
    assert asked("OUTP1?") == "0"


def test_a_charger_is_set_read_back_and_off_at_the_end(bench: Bench) -> None:
    bench.charge(5.0, 67.0)
    assert (asked("VOLT?", CHARGER), asked("CURR?", CHARGER)) == ("67.000", "5.000")
    assert asked("OUTP?", CHARGER) == "1"
    bench.charge(0.0)
    assert asked("OUTP?", CHARGER) == "0"
    bench.charge(5.0, 67.0)
    bench.close()
    assert (asked("OUTP?", CHARGER), asked("CURR?", CHARGER)) == ("0", "0.000")


@pytest.fixture
def serve() -> Any:
    """An instrument on a socket of this machine: what it answers to each line, None for nothing."""
    ends: list[Any] = []

    def start(answer: Any, terminator: str) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(20.0)

        def play() -> None:
            with contextlib.suppress(OSError):
                near = listening.accept()[0]
                ends.append(near)
                for line in near.makefile("r", encoding="ascii", newline=terminator):
                    said = answer(line.removesuffix(terminator))
                    if said is not None:
                        near.sendall(f"{said}{terminator}".encode("ascii"))

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        ends.extend([listening, thread])
        return f"TCPIP::127.0.0.1::{listening.getsockname()[1]}::SOCKET"

    yield start
    for end in ends:
        end.join(2.0) if isinstance(end, threading.Thread) else end.close()


@pytest.mark.wires
def test_relays_close_read_back_and_open_at_the_end(serve: Any) -> None:
    closed, is_stuck = {101: 0, 102: 0}, [False]

    def answer(line: str) -> str | None:
        known = {"*IDN?": "relays", "SYST:ERR?": '0,"No error"'}
        told = re.fullmatch(r"ROUT:(CLOS|OPEN)(\??) \(@(\d+)\)", line)
        if told is None:
            return known[line]
        if told[2]:
            return str(closed[int(told[3])])
        if not is_stuck[0]:
            closed[int(told[3])] = int(told[1] == "CLOS")
        return None

    resource = serve(answer, "\n")
    role = {
        "adapter": "scpi_relay",
        "resource": resource,
        "lines": {"interlock": 101, "crash": 102},
    }
    bench = Bench({"lines": role}, LIMITS, "rig.toml")
    bench.line("interlock", True)
    assert closed == {101: 1, 102: 0}
    is_stuck[0] = True
    with pytest.raises(BmsError, match="crash: set to 1 , read back 0"):
        bench.line("crash", True)
    is_stuck[0] = False
    bench.line("interlock", True)
    bench.close()
    assert closed == {101: 0, 102: 0}


@pytest.mark.wires
def test_a_chamber_is_limited_awaited_and_in_standby_at_the_end(serve: Any) -> None:
    heard, air = list[str](), [23.0]

    def answer(line: str) -> str:
        heard.append(line)
        if line == "TEMP?":
            wanted = next((x[6:] for x in reversed(heard) if x.startswith("TEMP,S")), "20.0")
            air[0] += 0.5 * (float(wanted) - air[0])
            return f"{air[0]:.1f},{wanted},180.0,-40.0"
        if line == "TYPE?":
            return "T,SCP-220,180.0"
        return f"OK:{line}" if line != "TEMP,S44.0" else "NA:DATA OUT OF RANGE"

    limits = Limits(chamber_degc=(-10.0, 45.0), chamber_error_k=2.5, chamber_soak_s=0.05)
    role = {"adapter": "espec_chamber", "resource": serve(answer, "\r\n")}
    bench = Bench({"chamber": role}, limits, "rig.toml")
    assert heard[-1] == "MODE,STANDBY"
    with pytest.raises(Beyond, match="45 degC"):
        bench.temperature(45.1)
    with pytest.raises(LinkError, match="was refused: NA:DATA OUT OF RANGE"):
        bench.temperature(44.0)
    bench.temperature(40.0)
    assert heard.index("TEMP,S40.0") < heard.index("MODE,CONSTANT")
    assert abs(air[0] - 40.0) < 2.5
    bench.close()
    assert heard[-1] == "MODE,STANDBY"


@pytest.mark.parametrize("role", ["charger", "chamber"])
def test_a_role_without_limits_is_refused(role: str) -> None:
    with pytest.raises(ConfigError, match=rf"options\.limits\.{role}"):
        Bench({role: {"adapter": "scpi_charger", "resource": "none"}}, Limits(), "rig.toml")


def test_an_instrument_that_is_not_there_is_named() -> None:
    roles = {"supply": ROLES["supply"] | {"resource": "TCPIP::127.0.0.1::inst9::INSTR"}}
    with pytest.raises(LinkError, match=r"inst9.*cannot be opened.*is it on"):
        Bench(roles, LIMITS, "rig.toml")


def test_an_instrument_that_refuses_is_quoted(bench: Bench) -> None:
    with pytest.raises(LinkError, match=r"SOUR1:VOLT 7.0000"):
        bench.found["cells"].set_voltage(0, 7.0)  # past the limits, which the box itself refuses


@pytest.mark.wires
def test_a_bs1200_is_set_and_read_by_its_frames() -> None:
    box, ends = links.open("inproc:bs1200"), threading.Event()
    cells, heard = [0.0] * 12, list[tuple[int, bytes]]()

    def play() -> None:
        while not ends.is_set():
            frame = box.receive(0.01)
            while frame is not None:
                heard.append((frame.id, bytes(frame.data)))
                if frame.id == 0x513:
                    channel, steps = struct.unpack("<BH", frame.data)
                    cells[channel] = steps * 1e-4
                frame = box.receive(0.0)
            for k, told in enumerate((0x123, 0x133, 0x143)):
                values = [round(v * 1e4) for v in cells[4 * k : 4 * k + 4]]
                box.send(links.Frame(told, struct.pack("<4H", *values)))

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        made = bloomy_bs1200.open(bloomy_bs1200.Options("inproc:bs1200", [3]))
        made.off()
        made.set_current(0.25)
        made.set_voltage(7, 3.7123)
        made.enable(True)
        for _ in range(50):
            if made.voltage(7) == pytest.approx(3.7123):
                break
        assert made.voltage(7) == pytest.approx(3.7123, abs=5e-5)
        with pytest.raises(LinkError, match="fault-insertion"):
            made.fault(0, "open")
        made.close()
    finally:
        ends.set()
        thread.join(2.0)
        box.close()
    assert heard[:4] == [
        (0x543, b"\x00"), (0x483, struct.pack("<HH", 2500, 2500)),
        (0x513, struct.pack("<BH", 7, 37123)), (0x543, b"\x01"),
    ]  # fmt: skip


@pytest.mark.wires
def test_a_bs1200_that_is_silent_is_named() -> None:
    made = bloomy_bs1200.open(bloomy_bs1200.Options("inproc:nobody", [1]))
    with pytest.raises(LinkError, match=r"box 1 tells no voltages.*1 Mbit/s"):
        made.voltage(0)
    made.close()


def test_a_role_with_the_adapter_of_another_is_refused() -> None:
    with pytest.raises(ConfigError, match="an adapter for cells; this one is for supply"):
        adapters.find("scpi_supply", "rig.toml", "cells")
