"""Devices under test: what their names mean, and what is said when they cannot be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bms_hil import rig
from bms_hil.diagnostic import Diagnostic, Refused, Wire
from bms_hil.dut import Dut, Source
from bms_hil.polls import SerialFace
from bms_hil.verdicts import Log

from bms.errors import ConfigError, LinkError
from bms.protocols import jbd

ROOT = Path(__file__).resolve().parents[3]
SERIAL = """
title = "A BMS with a serial port"
[serial]
face = "jbd"
ask = [{ type = "Request", register = 3 }]
every_s = 0.1
[signal]
meas_pack_voltage_v = { serial = "Basic.voltage_cv", scale = 0.01 }
meas_pack_current_a = { serial = "Basic.current_ca", scale = 0.01 }
[state]
signal = { serial = "Basic.switches" }
names = { 0 = "standby", 2 = "normal_drive", 3 = "normal_drive" }
[diagnosis]
cell_overvoltage = { serial = "Basic.protection", bit = 0 }
"""


def hil(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bms.cli", "hil", *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


# ---- ISO-TP and UDS ----


def server(answers: dict[bytes, list[bytes]], address: int = 0x7EC) -> tuple[Wire, list[bytes]]:
    """A wire with a server behind it that says what the table has for a frame."""
    sent: list[bytes] = []
    waiting: list[tuple[int, bytes]] = []

    def send(identifier: int, data: bytes) -> None:
        sent.append(data)
        waiting.extend((address, a) for a in answers.get(data.rstrip(b"\xcc"), []))

    def heard() -> list[tuple[int, bytes]]:
        found, waiting[:] = list(waiting), []
        return found

    return Wire(send, heard, lambda s: None), sent


def test_a_single_frame_is_asked_and_answered() -> None:
    wire, sent = server(
        {bytes.fromhex("03220102"): [bytes.fromhex("07620102000 0cd14".replace(" ", ""))]}
    )
    assert Diagnostic(wire).read("pack_voltage") == 52500
    assert sent == [bytes.fromhex("03220102cccccccc")]


def test_a_long_answer_is_put_together_and_a_gap_in_it_is_silence() -> None:
    vin = b"12345678901234567"
    message = bytes.fromhex("62f190") + vin
    first = bytes((0x10, len(message))) + message[:6]
    rest = [bytes((0x20 | k,)) + message[6 + 7 * (k - 1) : 13 + 7 * (k - 1)] for k in (1, 2)]
    rest = [r for r in rest if len(r) > 1]
    ask, go = bytes.fromhex("0322f190"), bytes.fromhex("300000")
    wire, _ = server({ask: [first], go: rest})
    assert Diagnostic(wire).read("vin") == vin.decode()
    wire, _ = server({ask: [first], go: rest[1:]})
    with pytest.raises(LinkError, match="missing"):
        Diagnostic(wire).read("vin")


def test_wait_is_waited_for_and_a_refusal_says_why() -> None:
    ask = bytes.fromhex("0414ffffff")
    wire, _ = server({ask: [bytes.fromhex("037f1478"), bytes.fromhex("0154")]})
    Diagnostic(wire).clear()
    wire, _ = server({ask: [bytes.fromhex("037f1422")]})
    with pytest.raises(Refused, match="conditions not correct") as refused:
        Diagnostic(wire).clear()
    assert refused.value.code == 0x22


def test_silence_and_noise_end_in_a_sentence_and_never_in_anything_else() -> None:
    noise = [b"\x00", b"\xff" * 8, b"\x30", b"\x21abc", b"\x0f" + b"a" * 7]
    wire, _ = server({bytes.fromhex("03220102"): noise})
    tester = Diagnostic(wire)
    with pytest.raises(LinkError, match=r"no answer to 22 01 02 \(sent as 7E4\) from 7EC"):
        tester.read("pack_voltage")
    assert tester.malformed == len(noise)


# ---- mapping ----


def test_a_source_scales_signs_and_picks_bits() -> None:
    assert Source(did=1, bytes=2, scale=0.001).value(bytes.fromhex("0e74")) == pytest.approx(3.7)
    assert Source(did=1, at=2, bytes=2, signed=True).value(bytes.fromhex("0000ffff")) == -1
    assert Source(serial="B.p", bit=3).value(8) == 1
    assert Source(serial="B.p", bit=2).value(8) == 0
    assert Source(dbc="A.B").value("not_available") != Source(dbc="A.B").value("not_available")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("Basic.voltage_cv", "Basic.volts"), "Message.field"),
        (('face = "jbd"', 'face = "jdb"'), "a serial face"),
        (("meas_pack_voltage_v", "meas_pack_volts"), "a name of docs/signals.md"),
        (("[serial]", "[serials]"), "serial"),
        (("{ serial = \"Basic.switches\" }", "{ did = 1 }"), "a table \\[uds\\]"),
        (("{ serial = \"Basic.switches\" }", '"Status.State"'), "a DBC"),
        (("{ serial = \"Basic.switches\" }", '{ did = 1, dbc = "A.B" }'), "one of dbc, did"),
    ],
)  # fmt: skip
def test_a_mapping_that_cannot_be_is_refused_with_its_key(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    (tmp_path / "dut.toml").write_text(SERIAL.replace(*change))
    with pytest.raises(ConfigError, match=expected):
        Dut(tmp_path / "dut.toml")


@pytest.mark.wires
def test_a_serial_face_is_asked_and_a_silent_one_is_named(tmp_path: Path) -> None:
    import threading
    import tty

    (tmp_path / "dut.toml").write_text(SERIAL)
    device = Dut(tmp_path / "dut.toml")
    here, there = os.openpty()
    tty.setraw(there)
    face = SerialFace(os.ttyname(there), device)
    with pytest.raises(LinkError, match="does not answer"):
        face.ask()
    os.set_blocking(here, False)
    os.read(here, 100)  # the question nobody answered
    os.set_blocking(here, True)
    basic = jbd.Basic(5280, -1250, 100, 200, 3, 0, 0, 1, 1, 60, 3, 16, ())

    def answer() -> None:
        os.read(here, 100)
        os.write(here, b"\x00\xdd" + jbd.encode(basic))  # noise before it

    thread = threading.Thread(target=answer)
    thread.start()
    values = face.ask()
    thread.join()
    assert device.signals["meas_pack_voltage_v"].value(5280) == pytest.approx(52.8)
    assert device.signals["meas_pack_current_a"].value(values["serial Basic.current_ca"]) == -12.5
    events = device.events([(1.0, values)])
    assert [(e.kind, e.name) for e in events] == [
        ("state", "normal_drive"), ("diagnosis", "cell_overvoltage")
    ]  # fmt: skip
    face.close()
    os.close(here)
    os.close(there)


def test_a_device_is_judged_by_its_uds_server_alone() -> None:
    opened = rig.open_rig(rig.load(str(ROOT / "examples/uds_bms/rig.toml")))
    opened.begin(Log())
    opened.bring_to("normal")
    fault = opened.inject("CEL-02", index=5)
    opened.wait(1.0)
    told = opened.recording
    assert told.resolution_s == pytest.approx(0.1)
    told.signal("meas_cell_voltage_max_v").after(fault, 0.5).stays_above(4.3)
    told.diagnosis("cell_overvoltage").reacts_within(ms=600, since=fault)
    told.state("latched").ever() if told.state("latched").times else told.state("error").ever()
    opened.close()


# ---- stopped before the first verdict ----

SILENT = """
#include "ecu.h"
#include <string.h>
struct ecu { int nothing; };
uint32_t ecu_abi(void) { return ECU_ABI; }
const char *ecu_version(void) { return "silent"; }
size_t ecu_size(void) { return sizeof(struct ecu); }
int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    (void)boot;
    memset(self, 0, sizeof *self);
    return 0;
}
void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    (void)self;
    (void)in;
    out->watchdog_kick = true;
}
const ecu_probe_t *ecu_probes(size_t *count) { *count = 0; return NULL; }
"""


def silent_library(tmp_path: Path) -> None:
    """A device that fits ecu.h and says nothing, as naive.so."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "silent.c").write_text(SILENT)
    places = ["-I", str(ROOT / "ext/firmware"), "-I", str(ROOT / "ext/firmware/generated")]
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-std=c99", *places, str(tmp_path / "silent.c"),
         "-o", str(tmp_path / "naive.so")], check=True,
    )  # fmt: skip


@pytest.mark.slow("waits for an answer that never comes")
def test_a_device_that_never_answers_stops_the_run(tmp_path: Path) -> None:
    silent_library(tmp_path)
    for name in ("naive.dbc", "dut.toml", "rig.toml"):
        shutil.copy(ROOT / "examples/naive_bms" / name, tmp_path / name)
    done = hil("--rig", "rig.toml", "-k", "interlock", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 3, done.stdout
    told = done.stdout + done.stderr
    assert "did not say Status.State" in told and "seen: silence" in told and "to fix:" in told
    assert set(verdicts(tmp_path / "e.jsonl")) == {"not_run"}


def test_a_library_without_a_dut_file_must_be_there_and_speak(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text('kind = "sil"\ntitle = "x"\npack = "bench_16s1p"\ndut = "./naive.so"\n')
    with pytest.raises(ConfigError, match="a shared library that fits"):
        rig.open_rig(rig.load(str(path)))
    silent_library(tmp_path)
    with pytest.raises(LinkError, match=r"silence for 15 s.*to fix: it must send BmsState"):
        rig.open_rig(rig.load(str(path)))


def verdicts(path: Path) -> list[Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [r["verdict"] for r in rows if r["event"] == "test"]


RIG = """
kind = "lab"
title = "x"
pack = "bench_16s1p"
[options]
can = "inproc:x"
[options.limits]
cell_voltage_v = [0.0, 5.0]
cell_current_a = 0.5
[options.role.cells]
adapter = "bloomy_bs1200"
can = "inproc:y"
boxes = [1, 2]
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('"bloomy_bs1200"', '"bloomy"'), "bloomy_abs, bloomy_abs_lines, bloomy_bs1200"),
        (("role.cells", "role.cell"), "options.role: got 'cell', expected one of cells"),
        (("role.cells", "role.supply"), "a limit: there is a role supply"),
        (("cell_current_a = 0.5", ""), "options.limits.cell_current_a"),
        (("cell_current_a", "cell_curent_a"), "cell_curent_a"),
        (("boxes = [1, 2]", "boxes = [99]"), "1 to 15"),
        (("boxes = [1, 2]", "box = [1]"), "box"),
        (('can = "inproc:x"', 'can = "can0"'), "CAN URL"),
        (('kind = "lab"', 'kind = "labs"'), "one of lab, mcu, realtime, sil"),
    ],
)
def test_a_bench_that_cannot_be_is_refused_with_its_key(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    (tmp_path / "rig.toml").write_text(RIG.replace(*change))
    with pytest.raises(ConfigError) as refused:
        rig.open_rig(rig.load(str(tmp_path / "rig.toml")))
    assert expected in str(refused.value)
