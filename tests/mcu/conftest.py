"""Image and board, built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bms_hil import target


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> target.Image:
    return target.build(tmp_path_factory.mktemp("target"))


@pytest.fixture
def board(image: target.Image, tmp_path: Path) -> Iterator[target.Board]:
    with target.Board(image, tmp_path) as board:
        yield board
