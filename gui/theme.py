"""Colours and fonts, dark and light, readable for the colour-blind.

The eight curve colours are those of Okabe and Ito ("Color Universal Design", 2008), in an order
that keeps neighbours apart. State is never told by colour alone: shape, word or line style goes
with it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets


@dataclass(frozen=True)
class Theme:
    """Colours as #RRGGBB."""

    name: str
    window: str
    panel: str
    text: str
    faint: str
    line: str
    accent: str
    good: str
    warn: str
    bad: str
    curves: tuple[str, ...]


DARK = Theme(
    "dark",
    window="#15181d",
    panel="#1d2128",
    text="#e8ebf0",
    faint="#8b95a5",
    line="#363d48",
    accent="#56b4e9",
    good="#2bb28b",
    warn="#e69f00",
    bad="#f0663f",
    curves=(
        "#56b4e9",
        "#e69f00",
        "#2bb28b",
        "#f0e442",
        "#cc79a7",
        "#f0663f",
        "#8fa8ff",
        "#d0d5dd",
    ),
)
LIGHT = Theme(
    "light",
    window="#eef0f3",
    panel="#ffffff",
    text="#1b2027",
    faint="#66707f",
    line="#cfd5dd",
    accent="#0072b2",
    good="#007f5f",
    warn="#b06f00",
    bad="#c8401c",
    curves=(
        "#0072b2",
        "#d55e00",
        "#009e73",
        "#8a6d00",
        "#b0478a",
        "#56b4e9",
        "#5a5fd0",
        "#333a44",
    ),
)
THEMES = {theme.name: theme for theme in (DARK, LIGHT)}
KIND_MARKS = {"truth": "●", "measured": "◆", "estimated": "◌", "command": "▸"}
KIND_WORDS = {
    "truth": "truth",
    "measured": "measured",
    "estimated": "estimated",
    "command": "command",
}


def argb(colour: str, alpha: int = 255) -> int:
    """0xAARRGGBB of #RRGGBB."""
    return alpha << 24 | int(colour[1:], 16)


def mixed(one: str, other: str, share: float) -> str:
    """A colour between two: share 0 is the first, 1 the second."""
    a, b = (tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in (one, other))
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(a, b, strict=True))


def apply(app: QtWidgets.QApplication, theme: Theme) -> None:
    """The whole application in these colours."""
    import pyqtgraph as pg

    pg.setConfigOptions(background=theme.panel, foreground=theme.faint, antialias=False)
    app.setStyle("Fusion")
    palette = QtGui.QPalette()
    role = QtGui.QPalette.ColorRole
    colours = {
        role.Window: theme.window,
        role.WindowText: theme.text,
        role.Base: theme.panel,
        role.AlternateBase: mixed(theme.panel, theme.window, 0.5),
        role.Text: theme.text,
        role.Button: theme.panel,
        role.ButtonText: theme.text,
        role.ToolTipBase: theme.panel,
        role.ToolTipText: theme.text,
        role.PlaceholderText: theme.faint,
        role.Highlight: mixed(theme.panel, theme.accent, 0.35),
        role.HighlightedText: theme.text,
        role.Link: theme.accent,
        role.Mid: theme.line,
        role.Dark: theme.line,
    }
    for which, colour in colours.items():
        palette.setColor(which, QtGui.QColor(colour))
    disabled = QtGui.QPalette.ColorGroup.Disabled
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(disabled, which, QtGui.QColor(theme.faint))
    app.setPalette(palette)
    app.setStyleSheet(_sheet(theme))


def _sheet(theme: Theme) -> str:
    """What a palette cannot say."""
    return f"""
        QMainWindow::separator {{ background: {theme.window}; width: 5px; height: 5px; }}
        QDockWidget {{ font-weight: 600; color: {theme.text}; }}
        QDockWidget::title {{ background: {theme.window}; padding: 5px 8px; text-align: left; }}
        QToolTip {{ background: {theme.panel}; color: {theme.text}; border: 1px solid {theme.line};
                    padding: 4px; }}
        QHeaderView::section {{ background: {theme.panel}; color: {theme.faint}; border: none;
                    border-bottom: 1px solid {theme.line}; padding: 4px 6px; }}
        QTableView, QTreeView, QListView {{ border: none; background: {theme.panel};
                    alternate-background-color: {mixed(theme.panel, theme.window, 0.5)}; }}
        QTreeView::item, QListView::item {{ padding: 2px 0; }}
        QPushButton {{ border: 1px solid {theme.line}; border-radius: 4px; padding: 5px 12px;
                    background: {theme.panel}; color: {theme.text}; }}
        QPushButton:hover {{ border-color: {theme.accent}; }}
        QPushButton:checked {{ background: {mixed(theme.panel, theme.accent, 0.35)}; }}
        QPushButton:disabled {{ color: {theme.faint}; }}
        QLineEdit, QComboBox {{ border: 1px solid {theme.line};
                    border-radius: 4px; padding: 3px 6px; background: {theme.panel};
                    color: {theme.text}; }}
        QToolBar {{ border: none; background: {theme.window}; spacing: 0px; padding: 0px; }}
        QToolButton {{ color: {theme.text}; padding: 4px 8px; border-radius: 4px;
                    border: 1px solid transparent; }}
        QToolButton:hover {{ border-color: {theme.line}; }}
        QToolButton:checked {{ background: {mixed(theme.window, theme.accent, 0.25)}; }}
        QToolButton:disabled {{ color: {mixed(theme.window, theme.faint, 0.6)}; }}
        QToolButton::menu-indicator {{ image: none; }}
        QTabBar::tab {{ padding: 4px 12px; color: {theme.faint}; border: none;
                    background: {theme.window}; }}
        QTabBar::tab:selected {{ color: {theme.text}; background: {theme.panel};
                    border-top: 2px solid {theme.accent}; }}
        QTabBar {{ qproperty-drawBase: 0; background: {theme.window}; }}
        QTreeView::indicator, QCheckBox::indicator, QTableView::indicator {{ width: 11px;
                    height: 11px; border: 1px solid {theme.faint}; border-radius: 2px;
                    background: {theme.window}; }}
        QTreeView::indicator:checked, QCheckBox::indicator:checked,
        QTableView::indicator:checked {{ background: {theme.accent};
                    border-color: {theme.accent}; }}
        QScrollBar:vertical {{ background: transparent; width: 9px; margin: 0; }}
        QScrollBar:horizontal {{ background: transparent; height: 9px; margin: 0; }}
        QScrollBar::handle {{ background: {theme.line}; border-radius: 4px; min-height: 24px;
                    min-width: 24px; }}
        QScrollBar::handle:hover {{ background: {theme.faint}; }}
        QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
        QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
        QMenu {{ background: {theme.panel}; color: {theme.text}; border: 1px solid {theme.line}; }}
        QMenu::item:selected {{ background: {mixed(theme.panel, theme.accent, 0.35)}; }}
        QComboBox::drop-down {{ border: none; width: 18px; }}
        QComboBox::down-arrow {{ image: url({_arrow(theme)}); width: 9px; height: 9px; }}
        QComboBox QAbstractItemView {{ background: {theme.panel}; color: {theme.text};
                    border: 1px solid {theme.line}; }}
        QStatusBar {{ color: {theme.faint}; }}
    """


@cache
def _arrow(theme: Theme) -> str:
    """A small triangle as a file, since a style sheet takes pictures only from files."""
    picture = QtGui.QPixmap(18, 18)
    picture.fill(QtGui.QColor(0, 0, 0, 0))
    p = QtGui.QPainter(picture)
    p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    p.setPen(QtCore.Qt.PenStyle.NoPen)
    p.setBrush(QtGui.QColor(theme.faint))
    p.drawPolygon([QtCore.QPointF(3, 6), QtCore.QPointF(15, 6), QtCore.QPointF(9, 13)])
    p.end()
    folder = tempfile.mkdtemp(prefix="bms-gui-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/arrow.png"
    picture.save(path)
    return path


def numbers_font(size: int = 11) -> QtGui.QFont:
    """Digits of one width, so that a changing value stands still."""
    font = QtGui.QFontDatabase.systemFont(QtGui.QFontDatabase.SystemFont.FixedFont)
    font.setPointSize(size)
    return font
