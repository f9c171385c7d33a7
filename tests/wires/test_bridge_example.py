"""The documented example as four programs: pack, firmware, bridge, a CAN tool on its other bus."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import can
import pytest
from two_processes import Bench, free_port, in_real_time

from bms.protocols import dbc

pytestmark = pytest.mark.wires
EXAMPLE = "examples/bridge/pack-to-car.toml"
PLACES = ("127.0.0.1:29536", "/tmp/bms-car", "127.0.0.1:9464")


def moved(text: str, *places: str) -> str:
    """The example at places of this test; nothing else of it is changed."""
    for old, new in zip(PLACES, places, strict=True):
        assert old in text
        text = text.replace(old, new)
    return text


def figure(text: str, name: str, of: str) -> float:
    """A sample of the Prometheus text."""
    found = re.search(rf"^{name}\{{{of}\}} (\S+)$", text, re.MULTILINE)
    assert found, (name, of)
    return float(found[1])


@pytest.mark.slow("real time: start of the firmware, then some seconds of traffic")
@in_real_time
def test_the_documented_example_joins_the_pack_to_a_second_bus(
    project_dir: Path, tmp_path: Path
) -> None:
    car, metrics_at, path = tmp_path / "car", f"127.0.0.1:{free_port()}", tmp_path / "example.toml"
    with Bench(tmp_path) as bench:
        text = moved((project_dir / EXAMPLE).read_text(), f"127.0.0.1:{bench.port}", str(car),
                     metrics_at)  # fmt: skip
        path.write_text(
            text.replace("[service]\n", f'[service]\ncontrol = "{tmp_path / "c.sock"}"\n')
        )
        emulate, ecu = bench.emulate(), bench.ecu()
        emulate.ready()
        command = [sys.executable, "-m", "bms.cli", "bridge", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bridge:
            assert bridge.stdout is not None
            with contextlib.ExitStack() as stack:
                stack.callback(bridge.terminate)
                assert '"started"' in bridge.stdout.readline()
                tool = can.Bus(
                    interface="slcan", channel=str(car), bitrate=250000, sleep_after_open=0
                )
                stack.callback(tool.shutdown)
                heard = listen(tool, frames=300)
                tool.send(can.Message(arbitration_id=0x123, data=[1], is_extended_id=False))
                request = dbc.frame_id("VcuAuthority")
                tool.send(can.Message(arbitration_id=request, data=bytes(8), is_extended_id=False))
                said = settled(metrics_at)
                ecu.wait("work", lambda x: x["event"] == "status" and x["phase"] != "off")
                emulate.wait("io", lambda x: x["event"] == "status" and x["io"]["fresh"])
            log = bridge.stdout.read()
    assert bridge.returncode == 0 and '"ended"' in log
    check_filter(heard)
    check_figures(said)


def scrape(where: str) -> str:
    with urllib.request.urlopen(f"http://{where}/metrics", timeout=10.0) as reply:
        return str(reply.read().decode())


def settled(where: str) -> str:
    """The figures once both of the tool's frames were received and judged, or after 10 s."""
    end, said = time.monotonic() + 10.0, scrape(where)
    while time.monotonic() < end and not (
        figure(said, "bms_bridge_rule_passed_total", 'rule="requests of the car"')
        and figure(said, "bms_bridge_link_dropped_default_total", 'link="pack"')
    ):
        said = scrape(where)
    return said


def listen(tool: can.BusABC, frames: int) -> list[can.Message]:
    end, heard = time.monotonic() + 20.0, []
    while len(heard) < frames and time.monotonic() < end:
        message = tool.recv(0.5)
        if message is not None:
            heard.append(message)
    return heard


def check_filter(heard: list[can.Message]) -> None:
    """Only what the BMS tells of itself, and its state ten times a second at most."""
    messages = {dbc.frame_id(name): name for name in dbc.names()}
    names = [messages[m.arbitration_id] for m in heard]
    assert len(heard) == 300 and all(name.startswith("Bms") for name in names)
    assert {"BmsState", "BmsCellVoltages"} <= set(names)
    lasted_s = heard[-1].timestamp - heard[0].timestamp
    assert (
        names.count("BmsState") <= 10.0 * lasted_s + 2 + 5
    )  # burst, and what a busy reader bunches


def check_figures(said: str) -> None:
    path = 'rule="pack to car, newest values, over a bad path"'
    matched, passed, lost, delayed = (
        figure(said, f"bms_bridge_rule_{name}_total", path)
        for name in ("matched", "passed", "lost", "delayed")
    )
    assert matched == passed + lost and passed == delayed >= 300
    assert figure(said, "bms_bridge_link_sent_total", 'link="car"') >= 300
    assert figure(said, "bms_bridge_link_dropped_default_total", 'link="car"') > 100
    limited = 'rule="status at most ten times a second"'
    assert figure(said, "bms_bridge_rule_limited_total", limited) > 0
    assert figure(said, "bms_bridge_rule_passed_total", 'rule="requests of the car"') == 1
    assert figure(said, "bms_bridge_link_dropped_default_total", 'link="pack"') == 1
    assert figure(said, "bms_bridge_link_state", 'link="car",state="up"') == 1
