"""No window is opened on a screen in these tests. Without Qt they skip and say so."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
try:
    from pyqtgraph.Qt import QtWidgets  # noqa: F401

    REASON = ""
except ImportError as error:
    REASON = f"needs the extra gui and its system libraries (make test-tools): {error}"
    collect_ignore = ["test_window.py"]


@pytest.fixture(scope="session", autouse=True)
def _qt_is_there() -> None:
    if REASON:
        pytest.skip(REASON)
