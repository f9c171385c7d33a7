"""Instructions, flash, memory and stack of the whole firmware, counted on its ARM code."""

from __future__ import annotations

import pytest

from bms.bench import chip, mcu

pytestmark = [
    pytest.mark.mcu,
    pytest.mark.slow("every instruction of a minute and a half is counted"),
    pytest.mark.skipif(bool(chip.missing()), reason=str(chip.missing())),
]


def test_every_figure_of_the_firmware_keeps_its_limit() -> None:
    rows = {row.name: row for row in mcu.rows(None)}
    assert set(rows) == set(mcu.WHOLE)
    for row in rows.values():
        assert row.ours is not None and row.ours > 0.0
        if row.limit is not None:
            assert row.ours <= row.limit, row
    worst, usual = rows["instructions_worst"].ours, rows["instructions_p50"].ours
    assert worst is not None and usual is not None
    assert worst > 10.0 * usual > 1000.0, "the heavy steps are among them"
