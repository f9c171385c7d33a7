"""Drive cycles: the built-in one, files, and what is wrong with files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bms.errors import ConfigError
from bms.plant import loads


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cycle.csv"
    path.write_bytes(text.encode())
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loads.read_cycle(write(tmp_path, text))
    assert "cycle.csv" in str(caught.value)
    return str(caught.value)


def test_nedc_is_the_regulations_cycle() -> None:
    cycle = loads.nedc()
    assert cycle.duration_s == 1180.0
    assert cycle.distance_m == pytest.approx(11007.0, rel=0.01)
    assert max(cycle.speed_mps) * 3.6 == pytest.approx(120.0)
    assert sum(1 for v in cycle.speed_mps if v == 0.0) > 13


def test_nedc_equals_the_published_trace_second_by_second(data_dir: Path) -> None:
    path = data_dir / "drive_cycles" / "nedc.csv"
    other = loads.read_cycle(path)
    ours, _ = loads.resample(loads.nedc(), 1.0)
    theirs, _ = loads.resample(other, 1.0)
    assert ours.shape == theirs.shape
    assert np.max(np.abs(ours - theirs)) < 0.001


@pytest.mark.parametrize(
    ("name", "duration_s", "distance_km", "max_kmh"),
    [
        ("udds", 1369, 11.99, 91.3),
        ("hwfet", 765, 16.51, 96.4),
        ("us06", 600, 12.89, 129.2),
        ("wltc_3a", 1800, 23.19, 131.3),
        ("wltc_class3b", 1800, 23.27, 131.3),
    ],
)
def test_published_cycles_have_their_published_length(
    data_dir: Path, name: str, duration_s: float, distance_km: float, max_kmh: float
) -> None:
    cycle = loads.read_cycle(data_dir / "drive_cycles" / f"{name}.csv")
    assert cycle.duration_s == duration_s
    assert cycle.distance_m / 1000.0 == pytest.approx(distance_km, abs=0.006)
    assert max(cycle.speed_mps) * 3.6 == pytest.approx(max_kmh, abs=0.06)


def test_units_byte_order_mark_and_grade_are_understood(tmp_path: Path) -> None:
    kmh = loads.read_cycle(write(tmp_path, "\ufefftime_s,speed_kmh\r\n5,0\r\n6,36\r\n7,0"))
    mps = loads.read_cycle(write(tmp_path, "cycSecs,cycMps,cycGrade\n0,0,0\n1,10,0.02\n2,0,0.0\n"))
    assert kmh.time_s == mps.time_s == (0.0, 1.0, 2.0)
    assert kmh.speed_mps == pytest.approx(mps.speed_mps)
    assert mps.grade_frac == (0.0, 0.02, 0.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty file", "a header and at least two rows"]),
        ("time_s,speed_kmh\n0,0\n", ["1 data rows", "at least two"]),
        ("time_s,speed_kmh\n0,0\n1,nan\n2,0\n", ["row 3, column speed_kmh", "'nan'", "finite"]),
        ("time_s,speed_kmh\n0,0\n1,inf\n2,0\n", ["row 3, column speed_kmh", "'inf'"]),
        ("time_s,speed_kmh\n0,0\n1,fast\n2,0\n", ["row 3, column speed_kmh", "'fast'"]),
        ("time_s,speed_kmh\n0,0\n1,\n2,0\n", ["row 3, column speed_kmh", "no gaps"]),
        ("time_s,speed_kmh\n0,0\n1\n2,0\n", ["row 3, column speed_kmh", "no gaps"]),
        ("time_s,speed_kmh\n0,0\n2,1\n1,0\n", ["row 4, column time_s", "1.0", "time to rise"]),
        ("time_s,speed_kmh\n0,0\n1,1\n1,0\n", ["row 4, column time_s", "time to rise"]),
        ("time_s,speed_kmh\n0,0\n1,1\n2,1\n60,0\n", ["row 5, column time_s", "gap", "58 s"]),
        ("time_s,speed\n0,0\n1,1\n", ["column speed", "unit", "speed_kmh"]),
        ("time,speed_kmh\n0,0\n1,1\n", ["column time", "unit", "time_s"]),
        ("time_s,power_w\n0,0\n1,1\n", ["row 1", "speed_kmh"]),
        ("time_s,speed_mps\n0,0\n1,90\n2,0\n", ["row 3, column speed_mps", "90", "speed_kmh"]),
        ("time_s,speed_kmh\n0,0\n1,300\n2,0\n", ["row 3, column speed_kmh", "300", "252"]),
        ("time_s,speed_kmh\n0,0\n1,-1\n2,0\n", ["row 3, column speed_kmh", "at least 0"]),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(tmp_path, text)
    for word in words:
        assert word in message


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        loads.read_cycle(tmp_path / "absent.csv")
    path = tmp_path / "cycle.csv"
    path.write_bytes(b"time_s,speed_kmh\n0,\xff\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        loads.read_cycle(path)


def test_resampling_is_linear_between_points() -> None:
    cycle = loads.Cycle(
        name="ramp", time_s=(0.0, 2.0, 3.0), speed_mps=(0.0, 4.0, 4.0), grade_frac=(0.0, 0.0, 0.0)
    )
    speed, grade = loads.resample(cycle, 0.5)
    assert speed.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0]
    assert len(grade) == len(speed) - 1


def test_a_journey_ends_at_its_distance_at_rest() -> None:
    legs = [(25.0, 100.0), (10.0, 30.0), (0.0, 20.0)]
    for distance_m in (500.0, 2600.0, 100e3):
        cycle = loads.journey(distance_m, legs, 0.5)
        assert cycle.distance_m == pytest.approx(distance_m, rel=1e-9)
        assert cycle.speed_mps[-1] == 0.0
        speed, _ = loads.resample(cycle)
        assert np.max(np.abs(np.diff(speed))) <= 0.5 * loads.STEP_S * 1.001
