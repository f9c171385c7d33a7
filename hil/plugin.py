"""The pytest plugin: `rig`, `dut` and `recording`, requirements, verdicts in the report.

    @pytest.mark.requirement("PRO-001")
    def test_a_cell_above_its_limit_opens_the_contactors(rig, recording):
        rig.bring_to("normal")
        fault = rig.inject("CEL-01", index=3)
        rig.wait(2.0)
        recording.diagnosis("cell_overvoltage").reacts_within(ms=500, since=fault)

It does nothing in a project that does not ask for these fixtures, and imports nothing heavy before
one is asked for.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bms_hil.rig import Rig
    from bms_hil.session import Session

SESSION = pytest.StashKey["Session"]()
LOG = pytest.StashKey[Any]()
RESULT = "bms_hil"


class RigDied(Exception):
    """The rig can do nothing more."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bms-hil", "hardware in the loop for battery management")
    group.addoption("--rig", default="sil", metavar="NAME|FILE", help="rig (default sil)")
    group.addoption("--hil-report", metavar="FILE", help="HTML report of the run")
    group.addoption("--hil-events", metavar="FILE", help="JSON line for each test; - is stdout")
    group.addoption("--hil-keep", metavar="DIR", help="recordings of failing tests go here")
    group.addoption("--hil-requirements", metavar="DIR",
                    help="folder of requirements; with it, gaps fail the run")  # fmt: skip
    group.addoption("--hil-rounds", type=int, default=1, metavar="N", help="run each test N times")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "requirement(id, text=..., source=...): what a test verifies; repeatable"
    )
    config.addinivalue_line("markers", "needs(capability): what the rig must be able to do")
    wanted = ("--hil-report", "--hil-events", "--hil-requirements")
    if any(config.getoption(name) for name in wanted) and not hasattr(config, "workerinput"):
        from bms_hil.session import Session

        config.stash[SESSION] = Session(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rounds = metafunc.config.getoption("--hil-rounds")
    if rounds > 1 and "rig" in metafunc.fixturenames:
        metafunc.fixturenames.append("hil_round")
        metafunc.parametrize("hil_round", range(1, rounds + 1))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SESSION in config.stash:
        config.stash[SESSION].collected(
            {i.nodeid: requirements_of(i) for i in items}, inline(items)
        )


def pytest_collection_finish(session: pytest.Session) -> None:
    if SESSION in session.config.stash:
        session.config.stash[SESSION].starts(len(session.items))


def requirements_of(item: pytest.Item) -> tuple[str, ...]:
    """Ids a test names, nearest marker last."""
    return tuple(dict.fromkeys(str(m.args[0]) for m in item.iter_markers("requirement") if m.args))


def inline(items: list[pytest.Item]) -> dict[str, dict[str, str]]:
    """Requirements that tests bring themselves: id -> text, source."""
    marks = [m for i in items for m in i.iter_markers("requirement") if m.args and m.kwargs]
    return {str(m.args[0]): {k: str(v) for k, v in m.kwargs.items()} for m in marks}


# ---- fixtures ----


@pytest.fixture(scope="session")
def hil_rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """The rig of the run, opened once."""
    from bms_hil import rig

    from bms.errors import BmsError

    try:
        opened = rig.open_rig(rig.load(request.config.getoption("--rig")))
    except rig.RigMissing as why:
        pytest.skip(str(why))
    except BmsError as error:
        pytest.exit(f"bms: {error}", returncode=error.exit_code)
    yield opened
    opened.close()


@pytest.fixture
def rig(request: pytest.FixtureRequest, hil_rig: Rig) -> Rig:
    """The rig, with nothing left of the test before; skipped where it lacks what the test needs."""
    from bms_hil.verdicts import Log

    for marker in request.node.iter_markers("needs"):
        missing = [str(a) for a in marker.args if lacks(hil_rig, str(a))]
        if missing:
            pytest.skip(f"rig {hil_rig.name} has no {', '.join(missing)}")
    log = Log()
    request.node.stash[LOG] = (hil_rig, log)
    hil_rig.begin(log)
    return hil_rig


def lacks(rig: Rig, capability: str) -> bool:
    """Whether a rig cannot do it. "faults" is every fault there is, "fault:CEL-02" one."""
    can = rig.capabilities
    return capability not in can and not (capability.startswith("fault:") and "faults" in can)


class Live:
    """The recording of the rig as it is when asked."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rig.recording, name)


@pytest.fixture
def recording(rig: Rig) -> Live:
    """What the rig has recorded so far in this test."""
    return Live(rig)


@pytest.fixture
def dut(rig: Rig) -> dict[str, str]:
    """The device under test: name, versions, configuration hash."""
    return rig.identity()


# ---- running ----


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    if died := item.session.stash.get(DIED, None):
        pytest.skip(f"not run: {died}")
    return (yield)


DIED = pytest.StashKey[str]()
BEGAN = pytest.StashKey[float]()
VOID = pytest.StashKey[str]()
AGAIN = pytest.StashKey[list[str]]()
TRIES = 3  # of a test whose rig did not keep real time


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A test whose rig missed real time says nothing of the device, passed or failed: it is run
    again, all its fixtures anew. When no try counts it was not run."""
    if "hil_rig" not in getattr(item, "fixturenames", ()):
        return None
    from _pytest.runner import runtestprotocol

    again = item.stash[AGAIN] = []
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for _ in range(TRIES):
        item.stash[VOID] = ""
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not item.stash[VOID]:
            break
        again.append(item.stash[VOID])
        item._initrequest()  # type: ignore[attr-defined]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    item.stash[BEGAN] = time.perf_counter()
    if LOG not in item.stash:
        return (yield)
    from bms_hil.verdicts import NotMeasurable

    try:
        return (yield)
    except NotMeasurable as limit:
        pytest.skip(str(limit))
    except RigDied as death:
        item.session.stash[DIED] = str(death)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report: Any = yield
    is_told = report.when == "call" or (report.when == "setup" and not report.passed)
    if is_told and (LOG in item.stash or "rig" in getattr(item, "fixturenames", ())):
        from bms_hil.session import result_of

        rig, log = item.stash.get(LOG, (None, None))
        keep = item.config.getoption("--hil-keep")
        is_dead = DIED in item.session.stash  # for good, whatever the clock did
        if rig is not None and not is_dead and (missed := rig.missed()):
            item.stash[VOID] = missed
            report.outcome, report.longrepr = "skipped", (*item.location[:2], f"not run: {missed}")
        found = result_of(item.nodeid, requirements_of(item), report, rig, log, keep)
        report.user_properties.append((RESULT, found | {"again": item.stash.get(AGAIN, [])}))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    session = _session()
    if session is not None:
        for name, value in report.user_properties:
            if name == RESULT:
                session.result(value)


def pytest_sessionstart(session: pytest.Session) -> None:
    if SESSION in session.config.stash:
        CURRENT.append(session.config.stash[SESSION])


CURRENT: list[Session] = []


def _session() -> Session | None:
    return CURRENT[-1] if CURRENT else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if SESSION in session.config.stash:
        kept = session.config.stash[SESSION]
        CURRENT.remove(kept)
        if not session.config.option.collectonly:
            _tell_never_ran(session, kept)
        if kept.finish(int(exitstatus)) and int(exitstatus) == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _tell_never_ran(session: pytest.Session, kept: Session) -> None:
    """After Ctrl-C, SIGTERM or --maxfail: what did not come to its verdict is told as well."""
    from bms_hil.session import never_ran

    told = {result["id"] for result in kept.results}
    for item in getattr(session, "items", []):  # none where other processes run them
        if item.nodeid not in told and "rig" in getattr(item, "fixturenames", ()):
            kept.result(never_ran(item.nodeid, requirements_of(item)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if SESSION in config.stash:
        for line in config.stash[SESSION].told():
            terminalreporter.write_line(line)


def tell(line: dict[str, Any], where: Path | None) -> None:
    """One JSON object a line, to a file or to stdout."""
    text = json.dumps(line)
    if where is None:
        sys.__stdout__.write(text + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]
    else:
        with where.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
