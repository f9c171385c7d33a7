"""Serial faces on real pseudo-terminals, read by other people's programs."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bms import Simulation, cli, links
from bms.errors import ConfigError
from bms.links import faces
from bms.protocols import elcon, inverter, jbd, jk
from bms.protocols.packview import VITAL, PackView

pytestmark = pytest.mark.wires


@dataclass(frozen=True)
class Heard:
    """A frame as a link gives it."""

    id: int
    data: bytes
    extended: bool = False
    remote: bool = False
    error: bool = False


class Bus:
    """The vehicle bus of a home storage pack that has come up, told again and again."""

    def __init__(self) -> None:
        run = Simulation("home_backup", seed=1).run(25.0, frames=True)
        self.frames = [Heard(f.id, f.data) for f in run.recording.frames if f.bus == 0][-6000:]
        self.at, self.is_dead = 0, False

    def receive(self, wait_s: float) -> Heard | None:
        if self.is_dead or (self.at and self.at % 200 == 0):
            self.at += 0 if self.is_dead else 1
            time.sleep(wait_s)
            return None
        self.at += 1
        return self.frames[self.at % len(self.frames)]


@dataclass
class Stand:
    """Faces being served in a thread."""

    bus: Bus
    faces: list[faces.Face]

    def path(self, name: str) -> str:
        for face in self.faces:
            if face.wanted.name == name and isinstance(face, faces.SerialFace) and face.port:
                return face.port.name
        raise LookupError(name)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    wanted = [faces.parse(f"{name}=pty:{tmp_path / name}") for name in SERIAL]
    opened, bus, over = faces.opened(wanted), Bus(), threading.Event()
    serve = (bus, opened, time.monotonic, lambda _: over.is_set())
    thread = threading.Thread(target=faces.serve, args=serve, daemon=True)
    thread.start()
    _until_answered(tmp_path / "jbd")
    try:
        yield Stand(bus, opened)
    finally:
        over.set()
        thread.join(5.0)
        assert not thread.is_alive()
        for face in opened:
            face.close()


SERIAL = ("jbd", "daly", "jk", "pylontech")


def _ask(path: Path | str, wire: bytes, module: object, wait_s: float = 1.0) -> bytes:
    """One request, and what comes back until the frame is whole or nothing comes any more."""
    port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.write(port, wire)
        found, end = b"", time.monotonic() + wait_s
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                found += os.read(port, 4096)
            size = module.frame_size(found)  # type: ignore[attr-defined]
            if 0 < size <= len(found):
                break
            time.sleep(0.005)
        return found
    finally:
        os.close(port)


def _until_answered(path: Path) -> None:
    """The view fills within a few passes of the bus."""
    for _ in range(100):
        if (
            jbd.decode(_ask(path, jbd.encode(jbd.Request(jbd.BASIC)), jbd, 0.2)).__class__
            is jbd.Basic
        ):
            return
    raise AssertionError("the face never answered")


def test_dalybms_reads_the_pack(stand: Stand) -> None:
    dalybms = pytest.importorskip("dalybms")
    client = dalybms.DalyBMS(address=4)
    client.connect(stand.path("daly"))
    try:
        soc, cells = client.get_soc(), client.get_cell_voltages()
        assert client.get_status()["cells"] == 16
        assert 50.0 < soc["total_voltage"] < 58.0 and 40.0 < soc["soc_percent"] < 60.0
        assert len(cells) == 16 and all(3.3 < v < 3.6 for v in cells.values())
        assert sum(cells.values()) == pytest.approx(soc["total_voltage"], abs=0.3)
        assert len(client.get_temperatures()) == 6
        assert client.get_mosfet_status()["charging_mosfet"] is True
        assert client.get_errors() in ([], ["SOC is too low. level one alarm"])
    finally:
        client.disconnect()


@pytest.mark.slow("the client waits for a line feed until its time-out of 2 s, at every call")
def test_python_pylontech_reads_the_pack(stand: Stand) -> None:
    pylontech = pytest.importorskip("pylontech")
    client = pylontech.Pylontech(serial_port=stand.path("pylontech"))
    try:
        values = client.get_values_single(2)
        assert values.NumberOfCells == 16
        assert sum(values.CellVoltages) == pytest.approx(values.Voltage, abs=0.3)
        assert 0.4 < values.StateOfCharge < 0.6
        assert values.TotalCapacity == pytest.approx(100.0)
        with contextlib.redirect_stdout(io.StringIO()):
            limits = client.get_management_info(2)
        assert limits.ChargeVoltageLimit == pytest.approx(58.4)
        assert limits.status.ChargeEnable and limits.ChargeCurrentLimit > 0
        assert client.get_module_serial_number(2).ModuleSerialNumber == b"SOLIDBMS00000001"
    finally:
        client.s.close()


def test_jk_tells_all_at_once(stand: Stand) -> None:
    answer = jk.decode(_ask(stand.path("jk"), jk.VECTORS[0].wire, jk))
    items = dict(answer.items)
    assert items[jk.CELLS][0] == 48 and len(items[jk.CELLS]) == 49


def test_noise_floods_and_halves_do_not_stop_a_face(
    stand: Stand, tmp_path: Path, seed: int
) -> None:
    noise = bytes((seed * 31 + k * 97 + k * k) & 0xFF for k in range(20_000))
    request = jbd.encode(jbd.Request(jbd.BASIC))
    port = os.open(tmp_path / "jbd", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    sent = 0
    for _ in range(2000):
        if sent >= len(noise):
            break
        with contextlib.suppress(BlockingIOError):
            sent += os.write(port, noise[sent : sent + 512])
        time.sleep(0.001)
    os.write(port, request[:5])
    os.close(port)
    assert sent == len(noise)
    _until_answered(tmp_path / "jbd")
    (face,) = (f for f in stand.faces if f.wanted.name == "jbd")
    assert face.counts["noise"] > 0


def test_a_face_is_silent_when_the_bus_is(stand: Stand, tmp_path: Path) -> None:
    stand.bus.is_dead = True
    end = time.monotonic() + 20.0
    while _ask(tmp_path / "jbd", jbd.encode(jbd.Request(jbd.BASIC)), jbd, 0.2):
        assert time.monotonic() < end, "still answering from a bus that is dead"
        time.sleep(0.05)
    stand.bus.is_dead = False
    _until_answered(tmp_path / "jbd")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jbx=pty", "one of"),
        ("jbd", "jbd=WHERE"),
        ("inverter=pty", "inverter.pylontech"),
        ("jbd=", "jbd=WHERE"),
    ],
)
def test_what_is_no_face_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        faces.parse(text)


def test_every_protocol_that_answers_or_tells_is_found() -> None:
    assert {*SERIAL, "elcon", "inverter.victron", "inverter.sma"} <= set(faces.names())
    assert set(VITAL) <= {"BmsState", "BmsPack", "BmsLimits", "BmsSoc"}


def test_faces_on_can_tell_once_a_period_beside_each_other() -> None:
    bus, now_s = Bus(), 0.0
    wanted = [faces.parse(f"{name}=inproc:{name}") for name in ("inverter.victron", "elcon")]
    opened = faces.opened(wanted)
    listeners = {name: links.open(f"inproc:{name}") for name in ("inverter.victron", "elcon")}
    view = PackView()
    for frame in bus.frames:
        view.hear(now_s, frame.id, frame.data)
    for now_s in (0.0, 0.5, 1.0):
        view.heard_s = dict.fromkeys(view.heard_s, now_s)
        for face in opened:
            face.step(view, now_s)
    heard = {
        name: list(iter(lambda p=port: p.receive(0.2), None)) for name, port in listeners.items()
    }
    assert [f.id for f in heard["elcon"]] == [elcon.COMMAND_ID] * 2
    assert all(f.extended for f in heard["elcon"])
    told = inverter.DIALECTS["victron"].messages
    assert [f.id for f in heard["inverter.victron"]] == list(told) * 2
    assert opened[0].counts["told"] == 2 * len(told)
    for face in opened:
        face.close()
    for port in listeners.values():
        port.close()


def test_the_command_serves_a_face_and_says_where(tmp_path: Path) -> None:
    with links.open("inproc:command") as bms_bus:
        frames, over = Bus().frames, threading.Event()

        def talk() -> None:
            for frame in itertools.cycle(frames):
                if over.wait(0.0002):
                    return
                bms_bus.send(links.Frame(frame.id, frame.data))

        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        face = tmp_path / "jbd"
        words = ["face", "inproc:command", f"jbd=pty:{face}", "--seconds", "4"]
        served = threading.Thread(target=cli.main, args=(words,), daemon=True)
        served.start()
        end = time.monotonic() + 3.0
        while not face.exists() and time.monotonic() < end:
            time.sleep(0.01)
        _until_answered(face)
        served.join(10.0)
        over.set()
        talker.join(5.0)
        assert not served.is_alive() and not face.is_symlink()
