"""What every test may use, and two rules: a slow test says so, and chance has a printed seed."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

try:  # pytest-qt stops everything where Qt's system libraries are missing; then only its tests skip
    from pyqtgraph.Qt import QtWidgets  # noqa: F401

    pytest_plugins = ["stalls", "pytestqt.plugin"]
except ImportError:
    pytest_plugins = ["stalls"]

ROOT = Path(__file__).resolve().parent.parent
SLOW_S = float(os.environ.get("BMS_SLOW_S") or 5.0)
"""$BMS_SLOW_S: another limit, where a test must fail for what it finds alone."""
SLOW, FAILS = "slow", 3.0


@pytest.fixture(scope="session")
def project_dir() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Measured data beside the project: $BMS_DATA_DIR, else ../shared/data; else the test skips."""
    place = Path(os.environ.get("BMS_DATA_DIR") or ROOT.parent / "shared" / "data")
    if not place.is_dir():
        pytest.skip(f"needs measured data: no folder {place}; set BMS_DATA_DIR to it")
    return place


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The same seed in every `make test`, a fresh one with --long; BMS_SEED=N repeats one."""
    fresh = secrets.randbelow(2**31) if request.config.getoption("--long") else 1
    value = int(os.environ.get("BMS_SEED") or fresh)
    print(f"seed {value}: repeat with BMS_SEED={value}")
    return value


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")
    parser.addoption("--mcu", action="store_true", help="only the tests marked mcu, in QEMU")


def pytest_configure(config: pytest.Config) -> None:
    # A gate that two people pass with the same tree must pass for the third; new cases are the
    # business of --long. No deadline: a busy machine is no failure.
    settings.register_profile("gate", derandomize=True, deadline=None)
    settings.register_profile("long", deadline=None)
    settings.load_profile("long" if config.getoption("--long") else "gate")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("wires"):
            item.add_marker(pytest.mark.xdist_group("wires"))
    is_mcu = bool(config.getoption("--mcu"))
    other = [item for item in items if (item.get_closest_marker("mcu") is not None) != is_mcu]
    if other:
        items[:] = [item for item in items if item not in set(other)]
        config.hook.pytest_deselected(items=other)
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        if long:
            items[:] = [item for item in items if not item.get_closest_marker("long")]
            config.hook.pytest_deselected(items=long)


def busy_s() -> float:
    """Processor seconds of this process and of the children it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that takes more than five seconds must be marked slow("why").

    Five seconds of processor time, or three times that on the clock, so that sleeping counts too,
    are told at the end. Only three times as much fails: a slow machine is no failure.
    """
    busy, clock = busy_s(), time.monotonic()
    result = yield
    busy, clock = busy_s() - busy, time.monotonic() - clock
    excuse = item.get_closest_marker("slow") or item.get_closest_marker("long")
    took = max(busy, clock / 3) / SLOW_S
    if excuse is None and took > 1.0:
        item.user_properties.append((SLOW, f"{item.nodeid} took {busy:.1f} s"))
    if excuse is None and took > FAILS:
        pytest.fail(
            f"took {busy:.1f} s of processor time and {clock:.1f} s on the clock;"
            f" a test over {SLOW_S:g} s is marked @pytest.mark.slow(reason)",
            pytrace=False,
        )
    if excuse is not None and not (excuse.args or excuse.kwargs.get("reason")):
        pytest.fail(f"the mark {excuse.name!r} needs its reason", pytrace=False)
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = {
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == SLOW
    }
    if told:
        terminalreporter.section(f"over {SLOW_S:g} s of processor time and not marked slow")
    for line in sorted(told):
        terminalreporter.write_line(line)
