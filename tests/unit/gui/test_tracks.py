"""Tables of samples: what is kept, what is forgotten, and that a view is one piece."""

from __future__ import annotations

import numpy as np
import pytest
from bms_gui.tracks import Table


def filled(capacity: int, pieces: list[int]) -> Table:
    table, at = Table({"a": 1, "cells": 3}, capacity), 0
    for n in pieces:
        k = np.arange(at, at + n)
        table.append(k * 0.01, {"a": k, "cells": k[:, None] + np.array([0.0, 0.25, 0.5])})
        at += n
    return table


@pytest.mark.parametrize("pieces", [[5, 7, 1], [100, 100, 100], [1] * 250, [1000], [3, 900, 2]])
def test_the_newest_are_kept_in_order(pieces: list[int]) -> None:
    table = filled(100, pieces)
    total = sum(pieces)
    kept = np.arange(max(0, total - 100), total)
    time_s, values = table.view("a")
    assert np.allclose(time_s, kept * 0.01) and np.array_equal(values[0], kept)
    assert np.array_equal(table.view("cells")[1][1], (kept + 0.25).astype(np.float32))
    assert table.forgotten == total - len(kept)
    assert time_s.flags.c_contiguous and not time_s.flags.writeable


def test_a_name_that_is_not_told_is_unknown() -> None:
    table = Table({"a": 1, "b": 1}, 10)
    table.append(np.array([1.0]), {"a": np.array([2.0])})
    assert np.isnan(table.at("b", 1.0)[0]) and table.at("a", 5.0)[0] == 2.0
    assert np.isnan(table.at("a", 0.5)[0])


def test_memory_is_bounded_whatever_is_asked() -> None:
    table = Table({"cells": 1200}, 10_000_000)
    assert table.capacity * 1200 * 8 <= 60_000_000
