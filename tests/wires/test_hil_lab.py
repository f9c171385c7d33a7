"""The laboratory rig on stand-ins: simulated instruments, an emulated pack, a firmware process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyvisa_sim", reason="pip install 'solid-bms[lab]'")
ROOT = Path(__file__).resolve().parents[2]
LAB = (ROOT / "hil/rigs/lab.toml").read_text()
pytestmark = [pytest.mark.wires, pytest.mark.slow("starts processes, and boots a BMS each test")]
DEATH = """
import os, signal
import pytest

@pytest.mark.requirement("OWN-1", text="t.", source="s")
def test_that_loses_its_device(rig):
    rig.bring_to("standby")
    os.kill(rig._standin.ecu._popen.pid, signal.SIGKILL)
    rig.wait(2.0)

@pytest.mark.requirement("OWN-1")
def test_after_it(rig):
    rig.bring_to("standby")
"""


def hil(folder: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, "-m", "bms.cli", "hil", "--events", "e.jsonl", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    path = folder / "e.jsonl"
    rows = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
    late = [
        r["text"] for r in rows if str(r.get("text")).startswith("not run: real time was missed")
    ]
    if late:
        pytest.skip(f"{late[0]} {arguments}: this computer did not keep real time in three tries")
    return done.returncode, rows, done.stdout + done.stderr


def bench(folder: Path, dut: str = "", *changes: tuple[str, str]) -> str:
    """The shipped rig file, changed, with a device beside it."""
    text = LAB.replace("lab.yaml@sim", f"{ROOT}/hil/rigs/lab.yaml@sim")
    for change in changes:
        assert change[0] in text
        text = text.replace(*change)
    if dut:
        (folder / "dut.toml").write_text(dut)
        text = text.replace('kind = "lab"', 'kind = "lab"\ndut = "./dut.toml"')
    (folder / "rig.toml").write_text(text)
    return str(folder / "rig.toml")


def test_requirements_hold_on_a_bench_and_too_fine_ones_are_refused(tmp_path: Path) -> None:
    wanted = "nothing_is_cleared or far_above_the_others_trips[7] or open_interlock or comparator"
    code, told, said = hil(tmp_path, "--rig", "lab", "-k", wanted)
    by_name = {str(t["id"]).rpartition("::")[2]: t for t in told if "id" in t}
    assert code == 0, said
    name = "test_nothing_is_cleared_while_driving"
    assert by_name[name]["verdict"] == "pass", by_name[name]
    # A busy machine is no fine clock: then the rig refuses the verdict.
    timed = by_name["test_one_cell_far_above_the_others_trips[7]"]
    assert timed["verdict"] == "pass" or "this rig tells times to" in timed["text"], timed
    fine = by_name["test_an_open_interlock_trips"]
    assert fine["verdict"] == "skip" and "this rig tells times to" in fine["text"]
    assert "events_1ms" in by_name["test_a_short_is_decided_by_the_comparator"]["text"]
    page = (tmp_path / "out/hil-lab/report.html").read_text()
    assert "stand-ins, no hardware" in page and "stimulus error" in page


def test_a_bench_whose_device_dies_leaves_the_rest_not_run(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(DEATH)
    code, told, said = hil(tmp_path, "--rig", "lab", "test_own.py")
    assert code == 1, said
    tests = [t for t in told if t["event"] == "test"]
    assert [t["verdict"] for t in tests] == ["fail", "not_run"]
    assert "bms ecu has ended" in tests[0]["text"]


STRANGER = """
title = "Another BMS"
dbc = "other.dbc"
[state]
signal = "Other.State"
names = { 0 = "standby" }
"""
OTHER_DBC = """VERSION ""
NS_ :
BS_:
BU_: A
BO_ 1911 Other: 8 A
 SG_ State : 0|8@1+ (1,0) [0|255] "" A
"""
PLAIN = """
kind = "lab"
title = "A bench without instruments"
pack = "bench_16s1p"
[options]
can = "{can}"
speaks_within_s = 1.0
[options.limits]
[options.role]
"""


@pytest.mark.parametrize(
    ("can", "seen"),
    [
        ("inproc:silence", "seen: silence"),
        ("socketcand:127.0.0.1:1/can0", "the link is"),
        ("slcan:/dev/nonexistent@500000", "the link is"),
    ],
)
def test_a_bus_that_says_nothing_stops_the_run(tmp_path: Path, can: str, seen: str) -> None:
    (tmp_path / "rig.toml").write_text(PLAIN.replace("{can}", can))
    code, told, said = hil(tmp_path, "--rig", "rig.toml", "-k", "interlock")
    assert code == 3, said
    assert "did not say BmsState.State within 1 s" in said and seen in said and "to fix:" in said
    assert {t["verdict"] for t in told if t["event"] == "test"} == {"not_run"}


def test_a_device_with_another_message_set_is_told_apart_from_silence(tmp_path: Path) -> None:
    (tmp_path / "other.dbc").write_text(OTHER_DBC)
    rig = bench(tmp_path, STRANGER, ("simulated = true", "simulated = true\nspeaks_within_s = 2.0"))
    code, told, said = hil(tmp_path, "--rig", rig, "-k", "interlock")
    assert code == 3, said
    assert "did not say Other.State" in said and "other identifiers: " in said
    assert "is the DBC of dut.toml the one of this device" in said
    assert {t["verdict"] for t in told if t["event"] == "test"} == {"not_run"}


def test_error_frames_are_called_what_they_are(tmp_path: Path) -> None:
    import threading

    from bms_hil import rig

    from bms import links
    from bms.errors import LinkError

    (tmp_path / "rig.toml").write_text(PLAIN.replace("{can}", "udp:127.0.0.1:41871@41872"))
    noise, ends = links.open("udp:127.0.0.1:41872@41871"), threading.Event()

    def shout() -> None:
        while not ends.wait(0.05):
            noise.send(links.Frame(0x20, bytes(8), error=True))

    thread = threading.Thread(target=shout, daemon=True)
    thread.start()
    try:
        with pytest.raises(LinkError, match=r"error frames.*wrong bit rate"):
            rig.open_rig(rig.load(str(tmp_path / "rig.toml")))
    finally:
        ends.set()
        thread.join(1.0)
        noise.close()


SERIAL = """
title = "A BMS with a serial port"
[serial]
face = "jbd"
ask = [{ type = "Request", register = 3 }]
[signal]
meas_pack_voltage_v = { serial = "Basic.voltage_cv", scale = 0.01 }
[state]
signal = { serial = "Basic.switches" }
names = { 0 = "standby", 3 = "normal_drive" }
"""
PATIENT = ("simulated = true", "simulated = true\nspeaks_within_s = 30.0")
ASKED = """
import pytest

@pytest.mark.requirement("OWN-1", text="t.", source="s")
@pytest.mark.parametrize("turn", [1, 2])
def test_that_reads_its_serial_port(rig, recording, turn):
    rig.bring_to("standby")
    rig.wait(2.0)
    recording.signal("meas_pack_voltage_v").stays_within(61.5, 62.5)
"""


def test_a_device_known_by_its_serial_face_is_switched_off_and_on_between_tests(
    tmp_path: Path,
) -> None:
    rig = bench(tmp_path, SERIAL, PATIENT)
    (tmp_path / "test_own.py").write_text(ASKED)
    code, told, said = hil(tmp_path, "--rig", rig, "test_own.py")
    assert code == 0, said
    tests = [t for t in told if t["event"] == "test"]
    assert [t["verdict"] for t in tests] == ["pass", "pass"]
    assert "pack_voltage" in tests[0]["text"], tests[0]


def test_a_serial_face_that_falls_silent_leaves_the_rest_not_run(tmp_path: Path) -> None:
    rig = bench(tmp_path, SERIAL, PATIENT)
    (tmp_path / "test_own.py").write_text(
        DEATH.replace("rig.wait(2.0)", "rig._standin.processes.pop()\n    rig.wait(5.0)")
    )
    code, told, said = hil(tmp_path, "--rig", rig, "test_own.py")
    assert code == 1, said
    tests = [t for t in told if t["event"] == "test"]
    assert [t["verdict"] for t in tests] == ["fail", "not_run"]
    assert "does not answer" in tests[0]["text"], tests[0]
