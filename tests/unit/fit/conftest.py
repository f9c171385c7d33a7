"""One made cell for all tests of this folder: three pulse records and a slow cycle."""

from __future__ import annotations

from pathlib import Path

import made
import pytest


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hppc_25.csv, hppc_5.csv, hppc_45.csv and slow.csv of `made.Known()`."""
    folder = tmp_path_factory.mktemp("records")
    known = made.Known()
    for degc in (25, 5, 45):
        columns = made.record(known, made.pulses(), degc, 1.0, seed=11)
        made.write_csv(folder / f"hppc_{degc}.csv", columns)
    made.write_csv(folder / "slow.csv", made.record(known, made.slow(), 25.0, 50.0, seed=12))
    return folder
