"""The rows of `bms bench gui`."""

from __future__ import annotations

from bms.bench import gui

MEASURED = {
    "redraw_ours_ms": 10.0, "redraw_plain_ms": 60.0, "scroll_ours_ms": 2.0,
    "scroll_plain_ms": 61.0, "fps": 40.0, "could_fps": 70.0, "frames_per_s": 10_000.0,
    "latency_p99_ms": 12.0, "open_s": 0.2, "zoom_ms": 60.0, "recorded_s": 200_000.0,
    "growth_mb": 150.0, "last_quarter_mb": 1.0,
}  # fmt: skip


def test_rows_are_those_that_were_promised_each_with_its_own_figure() -> None:
    rows = {row.name: row for row in gui.told(MEASURED)}
    assert list(rows) == [
        "full_redraw_ms_96x10000", "scroll_ms_96x10000", "layout_fps", "input_latency_p99_ms",
        "open_recording_s", "memory_growth_mb",
    ]  # fmt: skip
    assert [row.ours for row in rows.values()] == [10.0, 2.0, 40.0, 12.0, 0.2, 150.0]
    assert rows["full_redraw_ms_96x10000"].peer == 60.0
    assert rows["scroll_ms_96x10000"].peer == 61.0
