"""A recording's inputs, given to its firmware again, give its outputs again, bit for bit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import bms
from bms import replay, scenarios
from bms.cli import main
from bms.errors import RecorderError
from bms.recorder import Recording

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("drive") / "run.arrow"
    bms.Simulation("drive", pack="car_96s1p", seed=3).run(40, record=path, inputs=True)
    return path


@pytest.mark.slow("every shipped scenario, two minutes of each")
@pytest.mark.parametrize("name", scenarios.names())
def test_each_scenario_replays_bit_for_bit(name, tmp_path):
    path = tmp_path / "run.arrow"
    run = bms.Simulation(name, seed=1).run(120, record=path, inputs=True)
    with Recording.open(path) as rec:
        found = replay.check(rec)
    assert found.first is None
    assert found.steps == int(run.summary["steps"]) or run.summary["ecu_resets"] or found.steps > 0
    assert found.starts == 1 + run.summary["ecu_resets"]


def compiled(source: str, folder: Path) -> Path:
    """A firmware of one C file as a shared library."""
    library = folder / "firmware.so"
    command = ["gcc", "-shared", "-fPIC", f"-I{ROOT}/ext/firmware", str(ROOT / source)]
    subprocess.run([*command, "-o", str(library)], check=True)
    return library


def test_a_run_with_resets_replays_through_them(tmp_path):
    library = compiled("tests/c/firmware_hang.c", tmp_path)
    path = tmp_path / "run.arrow"
    run = bms.Simulation("drive", firmware=library).run(10, record=path, inputs=True)
    assert run.summary["ecu_resets"] >= 2
    with Recording.open(path) as rec:
        found = replay.check(rec)
        assert found.first is None and found.starts == 1 + run.summary["ecu_resets"]
        assert 0 < found.steps < run.summary["steps"]  # none while it boots
    other = library.read_bytes() + b"x"
    library.unlink()  # not over the one that is loaded
    library.write_bytes(other)
    with Recording.open(path) as rec, pytest.raises(RecorderError, match="gone or changed"):
        replay.check(rec)


def test_a_recording_that_begins_in_the_middle_goes_on_from_the_state_it_kept(tmp_path):
    simulation = bms.Simulation("drive", pack="car_96s1p")
    simulation.run(12, record=False)
    simulation.run(10, record=tmp_path / "run.arrow", inputs=True)
    with Recording.open(tmp_path / "run.arrow") as rec:
        found = replay.check(rec)
        assert found.first is None and (found.steps, found.starts) == (10_000, 0)
        with pytest.raises(RecorderError, match="only its own firmware"):
            replay.against(rec, replay.other_firmware(rec, "car_96s3p"))


def test_recording_inputs_changes_nothing_of_the_run(drive):
    plain = bms.Simulation("drive", pack="car_96s1p", seed=3).run(40, record=False)
    assert Recording.open(drive).summary["trace_hash"] == plain.summary["trace_hash"]


def changed(path: Path, folder: Path, change) -> Path:
    """A copy of a recording with one byte of its steps changed by `change(bytearray)`."""
    import pyarrow as pa

    from bms.recorder.disk import Disk
    from bms.recorder.file import RecordingFile
    from bms.recorder.mend import _encoder

    new = folder / "changed.arrow"
    with Recording.open(path) as rec:
        encoder = _encoder(rec)
        file = RecordingFile(new, rec.layout.schema_message, Disk())
        file.begin()
        for batch in rec.batches_of(range(rec.batch_count), raw=True):
            place = batch.schema.get_field_index("ecu")
            steps = [bytearray(row.as_py()) for row in batch.column("ecu")]
            steps = change(steps)
            batch = batch.set_column(place, batch.schema.field(place), pa.array(map(bytes, steps)))
            file.append(encoder.message(batch), batch)
        file.finish(None)
        file.close()
    return new


def test_the_first_output_that_differs_is_named(drive, tmp_path, capsys):
    def flip(steps):
        at = next(k for k, s in enumerate(steps) if k > 500)
        steps[at][-1] ^= 1
        return steps

    path = changed(drive, tmp_path, flip)
    with Recording.open(path) as rec:
        found = replay.check(rec)
        assert found.first is not None
        assert abs(found.first.time_s - 5.02) < 0.02
        assert found.first.recorded != found.first.replayed
    assert main(["replay", str(path)]) == 1
    out = capsys.readouterr().out
    assert "first output that differs" in out and found.first.field in out
    assert main(["replay", str(path), "--json"]) == 1
    words = json.loads(capsys.readouterr().out)
    assert words["identical"] is False and words["first_difference"]["field"] == found.first.field


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda steps: [*steps[:100], *(bytearray(b"\x07") for _ in steps[100:])], "make no sense"),
        (lambda steps: [bytearray() for _ in steps], "no step"),
    ],
)
def test_steps_that_cannot_be_are_refused_in_words(drive, tmp_path, change, message):
    with (
        Recording.open(changed(drive, tmp_path, change)) as rec,
        pytest.raises(RecorderError, match=message),
    ):
        replay.check(rec)


def test_missing_steps_are_told(tmp_path):
    path = tmp_path / "run.arrow"
    simulation = bms.Simulation("drive", pack="bench_12s1p_anode_free")
    simulation.run(300, record=path, inputs=True)
    data = path.read_bytes()
    with Recording.open(path) as rec:
        assert rec.batch_count >= 3
        place = rec.layout.places[1]
    bad = bytearray(data)
    bad[place.start + place.size - 50] ^= 1
    path.write_bytes(bad)
    bms.recorder.repair(path)
    with Recording.open(path) as rec, pytest.raises(RecorderError, match="inputs are missing"):
        replay.check(rec)


def test_a_recording_without_inputs_is_refused(tmp_path, capsys):
    bms.Simulation("drive", pack="car_96s1p").run(2, record=tmp_path / "run.arrow")
    assert main(["replay", str(tmp_path / "run.arrow")]) == 4
    assert "--record-inputs" in capsys.readouterr().err


# ---- against ----


def test_against_itself_nothing_differs(drive, capsys):
    with Recording.open(drive) as rec:
        found = replay.against(rec, replay.recorded_firmware(rec))
    assert found.steps_differing == 0 and not found.events and not found.signals
    assert found.events_equal >= 4 and found.signals_equal > 15
    assert main(["replay", str(drive), "--against", "car_96s1p"]) == 0
    assert "all 40000 steps" in capsys.readouterr().out


def test_against_another_cell_limits_and_estimates_differ(drive, capsys):
    with Recording.open(drive) as rec:
        found = replay.against(rec, replay.other_firmware(rec, other_cell()))
    assert found.steps_differing > 0 and found.first_s is not None
    kinds = {s.kind for s in found.signals}
    assert "limit" in kinds and "estimated" in kinds
    for change in found.signals:
        assert change.most != 0.0 or np.isnan(change.recorded_last)
    assert main(["replay", str(drive), "--against", other_cell(), "--json"]) == 0
    words = json.loads(capsys.readouterr().out)
    assert words["steps_differing"] == found.steps_differing


def other_cell() -> str:
    """A cell of the library that the pack accepts, other than its own."""
    from bms import cells, packs
    from bms.errors import ConfigError

    pack = packs.load("car_96s1p")
    for name in cells.names():
        try:
            packs.check(pack, cells.load(name))
        except ConfigError:
            continue
        if name != pack.cell:
            return name
    pytest.skip("the library has no second cell for this pack")
    return ""


def test_against_an_empty_firmware_everything_is_silent(drive, tmp_path):
    library = compiled("examples/empty_firmware/empty.c", tmp_path)
    with Recording.open(drive) as rec:
        found = replay.against(rec, replay.other_firmware(rec, str(library)))
    assert found.steps_differing > 20_000
    assert found.events and all(e.replayed_s is None for e in found.events)


# ---- a log of a real bus ----

MAPPING = """
pack = "car_96s1p"
request = "drive"

[[map]]
to = "pack_current_a"
signal = "BmsPack.PackCurrent"

[[map]]
to = "block_voltage_v"
signals = [
  "BmsCellVoltages.Cell0", "BmsCellVoltages.Cell1",
  "BmsCellVoltages.Cell2", "BmsCellVoltages.Cell3",
]
index = "BmsCellVoltages.Group"

[[map]]
to = "temperature_degc"
signals = [
  "BmsCellTemperatures.Sensor0", "BmsCellTemperatures.Sensor1", "BmsCellTemperatures.Sensor2",
  "BmsCellTemperatures.Sensor3", "BmsCellTemperatures.Sensor4", "BmsCellTemperatures.Sensor5",
]
index = "BmsCellTemperatures.Group"

[[map]]
to = "reference_soc_frac"
signal = "BmsSoc.Soc"
scale = 0.01
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """A minute of a bus as candump wrote it; that its BMS is ours the replay does not know."""
    folder = tmp_path_factory.mktemp("log")
    path = folder / "run.arrow"
    bms.Simulation("drive", pack="car_96s1p", seed=3).run(60, record=path, frames=True)
    with Recording.open(path) as rec, (folder / "bus.log").open("w") as file:
        for f in rec.frames:
            if f.bus == 0:
                stamp = f"{1e9 + f.t_ns * 1e-9:.6f}"
                file.write(f"({stamp}) can0 {f.id:03X}#{f.data.hex().upper()}\n")
        file.write("this is no frame\n")
    return folder / "bus.log"


def test_a_bus_log_is_given_to_our_firmware(log, tmp_path, capsys):
    mapping, out = tmp_path / "map.toml", tmp_path / "again.arrow"
    mapping.write_text(MAPPING)
    command = ["replay", str(log), "--mapping", str(mapping), "--out", str(out), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames_malformed"] == 1 and found["frames_used"] > 1000
    assert found["trips"] == 0 and found["state_final"] == "normal_drive"
    assert found["soc_rmse_against_log_frac"] < 0.02
    with Recording.open(out) as rec:
        assert rec.summary["frames_used"] == found["frames_used"]
        away = np.abs(rec["meas_pack_current_a"] - rec["true_pack_current_a"])
        assert np.median(away[-1000:]) < 0.3  # what the log says is what was measured
        assert replay.check(rec).first is None  # and can itself be replayed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MAPPING.replace("BmsPack.PackCurrent", "BmsPack.Nothing"), "a signal of the database"),
        (MAPPING.replace('"pack_current_a"', '"pack_current"'), "map[0].to"),
        (MAPPING.replace('request = "drive"', 'request = "fly"'), "standby, drive, charge"),
        (MAPPING + '\n[[map]]\nto = "ambient_degc"\nsignal = "x"\n', "Message.Signal"),
        ('pack = "car_96s1p"\nmap = []\n', "block_voltage_v"),
        ('pack = "car_96s1p"\nmap = []\nmore = 1\n', "more"),
        (MAPPING.replace("BmsPack.PackCurrent", "VcuRequest.Mode"), ""),
    ],
)
def test_a_mapping_that_cannot_be_is_one_sentence(log, tmp_path, capsys, text, message):
    mapping = tmp_path / "map.toml"
    mapping.write_text(text)
    code = main(["replay", str(log), "--mapping", str(mapping), "--out", str(tmp_path / "o.arrow")])
    told = capsys.readouterr().err
    assert code == (2 if message else 0) and message in told and told.count("\n") <= 1


def test_a_log_without_what_is_needed_is_refused(tmp_path, capsys):
    mapping, log = tmp_path / "map.toml", tmp_path / "bus.log"
    mapping.write_text(MAPPING)
    log.write_text("(1000000000.000000) can0 101#0011223344556677\n")
    command = ["replay", str(log), "--mapping", str(mapping), "--out", str(tmp_path / "o.arrow")]
    assert main(command) == 2
    assert "no value of " in capsys.readouterr().err
