"""The pack and the firmware as two processes: they find each other, and the safe state without."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from two_processes import Bench, Process, in_real_time

from bms import links, spec
from bms.protocols import e2e
from bms.recorder import Recording

pytestmark = pytest.mark.wires

CLOSED = 0b011  # main plus and main minus


def monitored(bus: str) -> dict[str, Any]:
    """What a third terminal sees: `bms monitor`, name to message."""
    command = (sys.executable, "-m", "bms.cli", "monitor", bus, "--json", "--once")
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return {message["name"]: message for message in json.loads(told)["messages"]}


@pytest.mark.slow("real time: start, drive, kill and start again")
@in_real_time
def test_normal_operation_is_reached_and_comes_back_after_the_firmware_was_killed(
    tmp_path: Path,
) -> None:
    record = tmp_path / "run.arrow"
    with Bench(tmp_path, "--record", record, ecu=("--nvm", tmp_path / "nvm")) as bench:
        emulate = bench.emulate()
        ready = emulate.ready()
        assert Path(bench.link).resolve() == Path(ready["afe"]["place"])
        ecu = bench.ecu()
        assert emulate.state("normal_drive")["contactors"] == CLOSED
        assert ecu.state("normal_drive")["pins_out"] == CLOSED
        seen = monitored(bench.bus)
        assert seen["BmsState"]["values"]["State"] == "normal_drive"
        assert {"IoInputs", "IoOutputs", "VcuRequest", "BmsCellVoltages"} <= seen.keys()

        ecu.kill()
        dropped = emulate.wait("open contactors", lambda x: x.get("contactors") == 0)
        assert not dropped["io"]["fresh"]
        assert dropped["io"]["losses"] == 1
        ecu = bench.ecu()
        emulate.state("standby")
        assert emulate.state("normal_drive")["contactors"] == CLOSED
        last = ecu.state("normal_drive")
        assert last["nvm"]["failures"] == 0

        assert emulate.end(signal.SIGTERM) == 143
        assert emulate.seen[-1]["event"] == "end"
        assert not bench.link.is_symlink()
        assert ecu.end(signal.SIGINT) == 130
    names = [e.name for e in Recording.open(record).events]
    assert names.count("normal_drive") == 2


def close_again(emulate: Process) -> None:
    """What it takes after a trip: a clear, the request to close withdrawn and made anew."""
    emulate.ask(set={"vehicle.clear_request": 1, "vehicle.service": 1})
    emulate.state("standby")
    emulate.ask(request="standby")
    time.sleep(0.5)
    emulate.ask(request="drive")


@pytest.mark.slow("real time: the firmware waits, starts, loses its pack and finds it again")
@in_real_time
def test_firmware_first_then_pack_then_the_pack_is_killed_and_comes_back(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        ecu = bench.ecu()
        waiting = ecu.wait("status", lambda x: x["event"] == "status")
        assert waiting["phase"] == "off"
        assert waiting["afe"]["state"] == "waiting"
        emulate = bench.emulate()
        ecu.state("standby")

        emulate.kill()
        gone = ecu.wait("silence", lambda x: x["event"] == "status" and not x["io"]["fresh"])
        assert gone["pins_out"] == 0
        ecu.wait("power loss", lambda x: x["event"] == "status" and x["phase"] == "off")
        emulate = bench.emulate()
        ecu.state("latched")  # what it tripped for is remembered over the loss of its supply
        close_again(emulate)
        back = ecu.state("normal_drive")
        assert (back["power_losses"], back["starts"]) == (1, 2)
        assert back["afe"]["losses"] >= 1
        assert emulate.state("normal_drive")["contactors"] == CLOSED


@pytest.mark.slow("real time: normal operation, twice, and each of the two messages cut once")
@in_real_time
def test_without_the_messages_of_the_io_module_the_contactors_drop(tmp_path: Path) -> None:
    """No other path joins the processes: the chips' line and the rest of the bus go on."""
    with Bench(tmp_path) as bench:
        emulate, ecu = bench.emulate(), bench.ecu()
        emulate.state("normal_drive")
        emulate.ask(io="cut")  # no IoInputs: the firmware opens
        first = emulate.wait("open contactors", lambda x: x.get("contactors") == 0)
        assert (first["can"][0]["state"], first["io"]["losses"]) == ("up", 0)
        ecu.wait("no supply", lambda x: x["event"] == "status" and x["phase"] == "off")
        emulate.ask(io="join")
        emulate.state("latched")  # remembered over the loss of its supply
        close_again(emulate)
        emulate.state("normal_drive")
        ecu.ask(io="cut")  # no IoOutputs: the pack takes all as off
        second = emulate.wait("open contactors", lambda x: x.get("contactors") == 0)
        assert second["afe"]["heard_ms"] < 1000
        assert not second["io"]["fresh"]
        assert second["io"]["losses"] == 1
        assert ecu.facts["io"]["fresh"]


@pytest.mark.slow("real time: starts the pack")
@in_real_time
def test_requests_over_stdin_change_the_world_and_nonsense_is_answered(tmp_path: Path) -> None:
    with Bench(tmp_path, "--no-vehicle") as bench:
        emulate = bench.emulate()
        emulate.ready()
        assert emulate.ask(set={"plant.ambient_degc": 31.5})["ok"]
        assert emulate.ask(get=["plant.ambient_degc"])["values"] == {"plant.ambient_degc": 31.5}
        refused = emulate.ask(set={"plant.no_such_field[3]": 1})
        assert not refused["ok"]
        assert "plant.no_such_field" in refused["error"]
        for nonsense in ({"set": 7}, {"get": 3}, {"arm": "x"}, {"request": "fly"}, {"dance": 1}):
            assert not emulate.ask(**nonsense)["ok"]
        emulate.say("{not json")
        assert not emulate.wait("reply", lambda x: x["event"] == "reply")["ok"]
        with links.open(bench.bus) as bus:
            assert bus.wait_up(20)
            heard = {frame.id for frame in itertools.islice(bus, 300)}
            assert 0x0F0 in heard and 0x080 not in heard, "requests are left to others"
            request = {"Mode": 1, "PowerDemand": 12.3}
            message = spec.database().get_message_by_name("VcuRequest")
            data = message.encode({s.name: 0 for s in message.signals} | request, strict=False)
            bus.send(links.Frame(0x080, e2e.p01_protect(data, 0x080, 0)))
            demand = {"vehicle.demand": 0.0}
            while demand["vehicle.demand"] == 0.0:
                demand = emulate.ask(get=["vehicle.demand"])["values"]
        assert demand == {"vehicle.demand": pytest.approx(12_300.0)}
        emulate.say(json.dumps({"quit": True}))
        assert emulate.popen.wait(20) == 0


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("emulate", "no_such_pack"), "no_such_pack"),
        (("emulate", "bench_16s1p", "--can", "nonsense"), "nonsense"),
        (("emulate", "bench_16s1p", "--pins", "gpiochip:0:1=no_such_pin"), "no_such_pin"),
        (("ecu", "--afe", "x", *3 * ("--can", "inproc:a")), "--can"),
        (("ecu", "--afe", "x", "--can", "inproc:a", "--config", "/no/such/file"), "/no/such/file"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_sentence_and_exit_code_2(
    command: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from bms.cli import main

    assert main(command) == 2
    told = capsys.readouterr().err.strip()
    assert named in told
    assert len(told.splitlines()) == 1


@pytest.mark.slow("real time: reaches normal operation over lines, then stands still")
@in_real_time
def test_lines_in_place_of_messages_drop_when_the_host_stood_still_and_need_arming_again(
    tmp_path: Path,
) -> None:
    """The coils are three lines of a file that both sides name: the same path as on GPIO."""
    lines = tmp_path / "lines"
    lines.write_text("000")
    wiring = ("--pins", f"file:{lines}:0=main_plus,1=main_minus,2=precharge")
    with Bench(tmp_path, *wiring, ecu=(*wiring, "--arm", "600")) as bench:
        emulate, ecu = bench.emulate(), bench.ecu()
        emulate.state("normal_drive")
        assert emulate.facts["pins"]["hardware"] is False
        assert lines.read_text() == "110"
        armed = ecu.state("normal_drive")["pins"]
        assert (armed["gate"], armed["errors"]) == ("armed", 0)
        assert 0 < armed["left_s"] < 600

        ecu.stand_still()
        emulate.wait("silence", lambda x: x["event"] == "status" and not x["io"]["fresh"])
        ecu.popen.send_signal(signal.SIGCONT)
        ecu.wait("stalled", lambda x: x["event"] == "status" and x["pins"]["gate"] == "stalled")
        emulate.wait("open contactors", lambda x: x.get("contactors") == 0)
        assert lines.read_text() == "000"
        assert ecu.ask(arm=60)["ok"]
        ecu.wait("armed", lambda x: x["event"] == "status" and x["pins"]["gate"] == "armed")
        assert ecu.end() == 143
        assert lines.read_text() == "000"
