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


@pytest.fixture(scope="session")
def app() -> object:
    """The application, in dark colours."""
    import pyqtgraph as pg
    from bms_gui import theme

    made = pg.mkQApp("tests")
    theme.apply(made, theme.DARK)
    return made


class Near:
    """A simulated pack in this process: the worker's hands and samples without its process, so that
    a test decides how far it runs."""

    def __init__(self, pack: str = "bench_16s1p", scenario: str = "drive", seed: int = 2) -> None:
        from bms_gui.hands import Hands
        from bms_gui.samples import Samples
        from bms_gui.snapshot import COMMANDS, Shape, Signal
        from bms_gui.words import choices_of
        from bms_gui.worker import _hello

        from bms import Simulation
        from bms.tap import Tap

        tap = Tap(Simulation(scenario, pack=pack, seed=seed), cells_every_s=0.5)
        self.simulation, self.hands, hello = tap.simulation, Hands(tap), _hello(tap)
        self.shape = Shape(
            hello.pack, hello.blocks, hello.parallel, hello.blocks_per_module, hello.limits
        )
        self.signals = {s[0]: Signal(*s[:5], choices_of(s[0])) for s in hello.signals}
        wide = {s[0]: s[4] for s in hello.signals if s[5] == "cells"}
        narrow = {s[0]: 1 for s in hello.signals if s[5] != "cells"}
        self.samples = Samples(narrow, wide, 100_000)
        self.events: list[object] = []
        self.offers = frozenset(COMMANDS)
        self.asked: list[tuple[object, ...]] = []
        self.refusal = ""
        self.title = hello.title

    def run(self, seconds: float) -> None:
        """So much of simulated time."""
        piece = self.hands.run(seconds)
        self.samples.add(piece)
        self.events += piece.events

    def pump(self) -> bool:
        """Nothing comes by itself."""
        return False

    def snapshot(self) -> object:
        """As it is now."""
        from bms_gui.snapshot import Snapshot, Status

        s = self.samples
        return Snapshot(
            self.title, "simulation", s.last_s, s.span_s, self.shape, self.signals, s.latest,
            s.heard_s, self.events, s.frames(), **self.hands.tell(), status=Status("running"),
            offers=self.offers, data=s,
        )  # fmt: skip

    def ask(self, word: str, *arguments: object) -> None:
        """What the worker would do."""
        self.asked.append((word, *arguments))
        self.refusal = self.hands.do((word, *arguments))

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def near() -> Near:
    """A bench pack, not yet running."""
    return Near()
