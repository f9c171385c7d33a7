"""The start page: four ways to something to look at."""

from __future__ import annotations

from bms_gui.theme import Theme
from pyqtgraph.Qt import QtCore, QtWidgets


class Start(QtWidgets.QWidget):
    """wanted: a feed to show."""

    wanted = QtCore.Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        box = QtWidgets.QVBoxLayout(self)
        box.addStretch(2)
        title = QtWidgets.QLabel("solid-bms")
        title.setStyleSheet(f"font-size: 26pt; font-weight: 700; color: {theme.text};")
        under = QtWidgets.QLabel("see inside a pack of solid-state cells")
        under.setStyleSheet(f"font-size: 12pt; color: {theme.faint};")
        for label in (title, under):
            label.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
            box.addWidget(label)
        box.addSpacing(24)
        self.demo = self._way("Demo", "a pack of 96 cells begins to drive at once")
        self.demo.clicked.connect(self._demo)
        self.scenario = QtWidgets.QComboBox()
        from bms import scenarios

        self.scenario.addItems(list(scenarios.names()))
        self.run = self._way("Scenario", "run the one that is chosen below")
        self.run.clicked.connect(self._scenario)
        for widget in (self.demo, self.run, self.scenario):
            row = QtWidgets.QHBoxLayout()
            row.addStretch(1)
            widget.setFixedWidth(420)
            row.addWidget(widget)
            row.addStretch(1)
            box.addLayout(row)
        box.addStretch(3)

    def _way(self, title: str, text: str) -> QtWidgets.QPushButton:
        button = QtWidgets.QPushButton(f"{title} — {text}")
        button.setMinimumHeight(44)
        return button

    def _demo(self) -> None:
        from bms_gui.feeds.simulated import SimulatedFeed

        self.wanted.emit(SimulatedFeed({"scenario": "drive", "pack": "car_96s1p"}))

    def _scenario(self) -> None:
        from bms_gui.feeds.simulated import SimulatedFeed

        self.wanted.emit(SimulatedFeed({"scenario": self.scenario.currentText()}))
