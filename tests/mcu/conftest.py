"""Image and board, built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bms_hil import target


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> target.Target:
    return target.build(tmp_path_factory.mktemp("target"))


@pytest.fixture
def board(built: target.Target, tmp_path: Path) -> Iterator[target.Board]:
    with target.Board(built, tmp_path) as board:
        yield board
