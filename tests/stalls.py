"""A test of ptys, sockets and clocks that failed on a computer that stood still says nothing.

One thread per processor sleeps for 10 ms again and again. Where one of them came late while such a
test failed, the test is run again, all its fixtures anew; the last try counts, whatever it met.
What ran again is told at the end.
"""

from __future__ import annotations

import os
import threading
import time

import pytest
from _pytest.runner import runtestprotocol

BEAT_S = 0.01
STALL_S = 0.03  # bms.realtime.status.LATE_S: contactors open where this computer takes more
TRIES = 3
AGAIN = "again"


class Beats:
    """How late the latest of the threads was since `begin`."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        for cpu in os.sched_getaffinity(0):
            threading.Thread(target=self._beat, args=(cpu,), daemon=True, name="beat").start()

    def _beat(self, cpu: int) -> None:
        os.sched_setaffinity(threading.get_native_id(), {cpu})
        while True:
            began = time.monotonic()
            time.sleep(BEAT_S)
            self.worst_s = max(self.worst_s, time.monotonic() - began - BEAT_S)

    def begin(self) -> None:
        """From here on."""
        self.worst_s = 0.0


BEATS = pytest.StashKey[Beats]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if item.get_closest_marker("wires") is None:
        return None
    if BEATS not in item.config.stash:
        item.config.stash[BEATS] = Beats()
    beats = item.config.stash[BEATS]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        beats.begin()
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failed = [report for report in reports if report.failed]
        if not failed or left == 0 or beats.worst_s < STALL_S:
            break
        words = str(failed[0].longrepr).strip().splitlines() or [""]
        late = f"{item.nodeid}: {1e3 * beats.worst_s:.0f} ms late; {words[-1][:120]}"
        item.user_properties.append((AGAIN, late))
        item._initrequest()  # type: ignore[attr-defined]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = {
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == AGAIN
    }
    if told:
        terminalreporter.section("run again, since this computer stood still")
    for line in sorted(told):
        terminalreporter.write_line(line)
