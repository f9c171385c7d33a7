"""Frames survive the way out and back, in the eyes of our readers and of everybody else's."""

from __future__ import annotations

import shutil
import subprocess

import export_made as made
import numpy as np
import pytest

from bms.errors import ConfigError
from bms.recorder import Frame, Recording, logs
from bms.recorder.export import Options, convert
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, REMOTE

RESOLUTION_NS = {"log": 1000, "asc": 1000, "blf": 1, "mf4": 1}
EXTRAS = {"mf4": "asammdf"}


def normal(frames: list[Frame], end: str) -> list[Frame]:
    """What a format can hold of the frames: an error frame of candump and ASC has no direction."""
    loose = {"asc": ERROR, "blf": ERROR}.get(end, 0)
    return [f._replace(direction=0) if f.flags & loose else f for f in frames]


@pytest.mark.parametrize("start_unix_ns", [0, 1_763_812_345_678_000_000])
@pytest.mark.parametrize("end", RESOLUTION_NS)
def test_export_then_import_gives_equal_frames(tmp_path, seed, end, start_unix_ns):
    pytest.importorskip(EXTRAS.get(end, "can"), reason="pip install 'solid-bms[export]'")
    given = made.all_kinds_of_frames(seed)
    rec = made.record(tmp_path / "a.arrow", given, {"start_unix_ns": start_unix_ns})
    assert list(rec.frames) == given
    convert(rec.path, tmp_path / f"a.{end}")
    told = convert(tmp_path / f"a.{end}", tmp_path / "b.arrow")
    assert told == "300 frames, 0 signals"
    back = Recording.open(tmp_path / "b.arrow")
    shift_ns = 0
    if end == "log" and start_unix_ns:  # a candump log has no zero: its first frame is
        shift_ns = given[0].t_ns
        assert back.meta["start_unix_ns"] == start_unix_ns + shift_ns
    else:
        assert back.meta["start_unix_ns"] == start_unix_ns
    expected = [f._replace(t_ns=f.t_ns - shift_ns) for f in normal(given, end)]
    assert list(back.frames) == expected
    assert back.summary["malformed"] == 0


def test_nanoseconds_survive_where_the_format_has_them(tmp_path):
    pytest.importorskip("can")
    frames = [Frame(t, 0, 0, 1, 0, b"a") for t in (1, 7_001, 1_234_567_891, 86_399_999_999_999)]
    path = tmp_path / "a.blf"
    from bms.recorder.export import blf
    from bms.recorder.export.source import Source

    source = Source("x", (), lambda _: iter(()), lambda: iter([logs.together(frames)]))
    blf.write(source, path, Options())
    assert [f.t_ns for f in logs.open_log(path)] == [f.t_ns for f in frames]


@pytest.mark.parametrize("end", ["log", "asc", "blf"])
def test_python_can_reads_what_is_written(tmp_path, seed, end):
    can = pytest.importorskip("can")
    given = made.all_kinds_of_frames(seed)
    convert(made.record(tmp_path / "a.arrow", given).path, tmp_path / f"a.{end}")
    readers = {"log": can.CanutilsLogReader, "asc": can.ASCReader, "blf": can.BLFReader}
    found = list(readers[end](str(tmp_path / f"a.{end}")))
    assert len(found) == len(given)
    for message, frame in zip(found, given, strict=True):
        assert message.timestamp == pytest.approx(frame.t_ns * 1e-9, abs=1.1e-6)
        assert message.is_error_frame == bool(frame.flags & ERROR)
        if frame.flags & ERROR:
            continue
        assert message.arbitration_id == frame.id
        assert message.is_extended_id == bool(frame.flags & EXTENDED)
        assert message.is_fd == bool(frame.flags & FD)
        assert message.is_rx == (frame.direction == 0)
        assert message.channel in (frame.bus, f"can{frame.bus}")
        is_empty_fd = end == "asc" and frame.flags & FD and not frame.data  # read as remote there
        if not is_empty_fd:
            assert message.is_remote_frame == bool(frame.flags & REMOTE)
            assert bytes(message.data) == (b"" if frame.flags & REMOTE else frame.data)
        assert message.bitrate_switch == bool(frame.flags & BRS)


@pytest.mark.parametrize("end", ["log", "asc", "blf", "mf4"])
def test_what_python_can_writes_is_read(tmp_path, seed, end):
    can = pytest.importorskip("can")
    pytest.importorskip(EXTRAS.get(end, "can"), reason="pip install 'solid-bms[export]'")
    given = [f for f in made.all_kinds_of_frames(seed) if not f.flags & (ERROR | REMOTE)]
    start_s = 1_763_812_345.0
    writers = {"log": can.CanutilsLogWriter, "asc": can.ASCWriter, "blf": can.BLFWriter,
               "mf4": can.MF4Writer}  # fmt: skip
    writer = writers[end](str(tmp_path / f"a.{end}"))
    for f in given:
        writer.on_message_received(
            can.Message(
                timestamp=start_s + f.t_ns * 1e-9, arbitration_id=f.id, data=f.data,
                is_extended_id=bool(f.flags & EXTENDED), is_fd=bool(f.flags & FD), channel=f.bus,
                bitrate_switch=bool(f.flags & BRS), is_rx=f.direction == 0,
            )
        )  # fmt: skip
    writer.stop()
    log = logs.open_log(tmp_path / f"a.{end}")
    found = list(log)
    assert log.malformed == 0
    assert [f[1:] for f in found] == [f[1:] for f in given]
    steps = np.diff([f.t_ns for f in found]) - np.diff([f.t_ns for f in given])
    assert np.abs(steps).max() < 2500  # a date in a float has a quarter of a microsecond


def test_tshark_reads_and_decodes_the_capture(tmp_path, seed):
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("no tshark: apt-get install -y --no-install-recommends tshark")
    given = made.all_kinds_of_frames(seed)
    convert(made.record(tmp_path / "a.arrow", given).path, tmp_path / "a.pcapng")
    fields = ("frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction", "can.id",
              "can.flags.xtd", "can.flags.rtr", "can.flags.err", "can.len", "data.data",
              "canfd.flags.brs")  # fmt: skip
    names = [part for name in fields for part in ("-e", name)]
    said = subprocess.run(
        [tshark, "-r", tmp_path / "a.pcapng", "-T", "fields", *names],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    rows = [line.split("\t") for line in said.stdout.splitlines()]
    assert len(rows) == len(given)
    for row, frame in zip(rows, given, strict=True):
        name, epoch, way, identifier, xtd, rtr, err, size, data, brs = row
        assert name == f"can{frame.bus}" and int(way, 0) == 1 + frame.direction
        assert round(float(epoch) * 1e6) * 1000 == frame.t_ns
        assert is_true(err) == bool(frame.flags & ERROR)
        if frame.flags & ERROR:
            continue
        assert int(identifier) == frame.id and int(size) == len(frame.data)
        assert is_true(xtd) == bool(frame.flags & EXTENDED)
        assert (brs != "") == bool(frame.flags & FD)  # a flag of CAN FD alone
        if frame.flags & FD:
            assert is_true(brs) == bool(frame.flags & BRS)
        else:
            assert is_true(rtr) == bool(frame.flags & REMOTE)
        if not frame.flags & REMOTE:
            assert bytes.fromhex(data) == frame.data


def is_true(text: str) -> bool:
    return text in ("1", "True", "true")


def test_asammdf_decodes_the_bus_logging_with_the_dbc(tmp_path):
    asammdf = pytest.importorskip("asammdf", reason="pip install 'solid-bms[export]'")
    from bms import spec
    from bms.protocols import dbc

    volts = [380.0 + k / 10 for k in range(20)]
    frames = [
        Frame(k * 50_000_000 + 1000, 0, 1, dbc.frame_id("BmsPack"), 0,
              dbc.encode("BmsPack", {"PackVoltage": v, "Counter": k % 15}))
        for k, v in enumerate(volts)
    ]  # fmt: skip
    rec = made.record(tmp_path / "a.arrow", frames)
    convert(rec.path, tmp_path / "a.mf4", options=Options(dbc=spec.DBC))
    with asammdf.MDF(tmp_path / "a.mf4") as file:
        decoded = file.extract_bus_logging({"CAN": [(str(spec.DBC), 0)]})
        found = decoded.get("PackVoltage")
        assert np.allclose(found.samples, volts) and found.unit == "V"
        assert np.allclose(found.timestamps, [f.t_ns / 1e9 for f in frames], atol=1e-9)


def test_the_database_makes_signals_of_an_imported_log(tmp_path):
    from bms import spec
    from bms.protocols import dbc

    at = dbc.frame_id("BmsPack")
    volts = [380.0, 381.5, 383.0]
    frames = [
        Frame(
            k * 1_000_000_000 + 2000,
            0,
            0,
            at,
            0,
            dbc.encode("BmsPack", {"PackVoltage": v, "Counter": k}),
        )
        for k, v in enumerate(volts)
    ] + [Frame(2_500_000_000, 0, 0, 0x7FF, 0, b"x"), Frame(2_600_000_000, 0, 0, at, 0, b"short")]
    convert(made.record(tmp_path / "a.arrow", frames).path, tmp_path / "a.blf")
    convert(
        tmp_path / "a.blf", tmp_path / "b.arrow", signals=["BmsPack.Pack*"],
        options=Options(dbc=spec.DBC),
    )  # fmt: skip
    rec = Recording.open(tmp_path / "b.arrow")
    info = rec.signals["BmsPack.PackVoltage"]
    assert info.unit == "V" and info.kind == "measured" and "BmsPack.Counter" not in rec
    time_s, values = rec.time_s(info.name), rec[info.name]
    assert np.allclose(values[time_s < 1.0], 380.0) and np.isclose(values[-1], 383.0)
    assert rec.summary["frames_not_in_database"] == 1 == rec.summary["frames_not_decoded"]
    with pytest.raises(ConfigError, match=r"Message\.Signal"):
        convert(tmp_path / "a.blf", tmp_path / "c.arrow", signals=["Nobody.*"])


def test_silence_between_frames_costs_no_ticks(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("(0.005000) can0 001#00\n(900000.005000) can0 001#01\n(1.0) can0 001#02\n")
    convert(path, tmp_path / "a.arrow")
    rec = Recording.open(tmp_path / "a.arrow")
    assert rec.t_ns.size < 10
    assert rec.summary["times_backwards"] == 1
    times = [f.t_ns for f in rec.frames]
    assert times == sorted(times) and times[-1] >= 900_000_000_000_000


def test_a_burst_larger_than_any_buffer_loses_no_frame(tmp_path):
    path = tmp_path / "a.log"
    burst = "".join(f"(5.000000) can0 123##1{k:0128X}\n" for k in range(40_000))
    path.write_text("(1.0) can0 001#00\n" + burst + "(5.5) can0 001#01\n")
    convert(path, tmp_path / "a.arrow")
    rec = Recording.open(tmp_path / "a.arrow")
    assert len(rec.frames) == 40_002 and not rec.events
    ends = [f.data[-2:] for f in rec.frames][1:40_001]
    assert ends == [k.to_bytes(2, "big") for k in range(40_000)]
    assert np.all(np.diff(rec.t_ns) > 0)


@pytest.mark.parametrize("end", ["asc", "blf", "mf4", "pcapng"])
def test_a_log_becomes_another_log_with_its_date(tmp_path, seed, end):
    if end == "mf4":
        pytest.importorskip("asammdf", reason="pip install 'solid-bms[export]'")
    given, start_unix_ns = made.all_kinds_of_frames(seed), 1_763_812_345_678_000_000
    rec = made.record(tmp_path / "a.arrow", given, {"start_unix_ns": start_unix_ns})
    convert(rec.path, tmp_path / "a.blf")
    assert convert(tmp_path / "a.blf", tmp_path / f"b.{end}").startswith(("300 ", "0 signals"))
    if end == "pcapng":
        assert (start_unix_ns + given[0].t_ns >> 32).to_bytes(4, "little") in (
            tmp_path / "b.pcapng"
        ).read_bytes()
        return
    log = logs.open_log(tmp_path / f"b.{end}")
    assert list(log) == normal(given, "blf") and log.start_unix_ns == start_unix_ns
