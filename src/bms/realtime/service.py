"""What `bms emulate` and `bms ecu` have in common: a runner's life from open to closed."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

from bms.errors import BmsError
from bms.realtime.status import Control, Teller

LOOK_S = 0.02  # between looks of Python at the runner
STATUS_S = 1.0  # between status lines for scripts
WORDS_S = 5.0  # and for people
PRIORITY = 50


class Service:
    """A runner, served until it is told to end.

    Subclasses have `runner` (bms._realtime.Emulator or Host), `look(now_s)`, `facts()`, `words()`,
    `answer(request)` and `close()`. Whatever ends `serve`, lines are off and files closed after it.
    """

    runner: Any

    def __init__(self, teller: Teller, control: Control | None, duration_s: float | None) -> None:
        self.teller, self.control, self.duration_s = teller, control, duration_s
        self.ended_by, self.priority = "", 0
        self._told_s = 0.0
        self._failure: BaseException | None = None

    # ---- of the subclass ----

    def look(self, now_s: float) -> None:
        """Fifty times a second: ports, phases, events, recorder."""

    def facts(self) -> dict[str, Any]:
        """Of a status line for scripts."""
        return {}

    def words(self) -> str:
        """Of a status line for people."""
        return ""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Meet a request of --control, or raise BmsError."""
        if request.get("status"):
            return {"status": self.facts()}
        raise BmsError(f"cannot be asked: {sorted(set(request) - {'id'})}")

    def close(self) -> None:
        """The runner has stopped."""

    def opened(self) -> None:
        """The runner runs."""

    # ---- life ----

    def serve(self, priority: int = PRIORITY) -> None:
        """Until the duration is over, a request to quit, or an exception such as Ctrl-C."""
        self.priority = priority
        thread = threading.Thread(target=self._run, args=(priority,), name="bms-runner")
        gc.collect()
        gc.freeze()
        began_s = time.monotonic()
        thread.start()
        try:
            while thread.is_alive() and not self.runner.parts["pace"]["due_us"][0]:
                time.sleep(1e-3)  # until it has asked for its priority
            self.opened()
            while thread.is_alive() and not self.ended_by:
                now_s = time.monotonic()
                self._look(now_s, now_s - began_s)
                self._rest(LOOK_S)
        except KeyboardInterrupt:
            self.ended_by = "interrupted"
            raise
        except SystemExit:
            self.ended_by = "terminated"
            raise
        except BaseException as error:
            self.ended_by = str(error) or type(error).__name__
            raise
        finally:
            self.runner.stop()
            thread.join()
            gc.unfreeze()
            words, facts = f"end     {self.ended_by}; {self.words()}", self.facts()
            self.close()
            self.teller.tell("end", words, by=self.ended_by, **facts)
        if self._failure is not None:
            raise self._failure

    def _run(self, priority: int) -> None:
        try:
            self.runner.run(priority)
        except BaseException as error:
            self._failure = error

    def _rest(self, seconds: float) -> None:
        """Until the next look; a request is answered as soon as it comes."""
        end_s = time.monotonic() + seconds
        left_s = seconds
        while self.control and not self.ended_by and left_s > 0.0 and self.control.wait(left_s):
            self._answer_all()
            left_s = end_s - time.monotonic()
        if not self.control:
            time.sleep(seconds)

    def _answer_all(self) -> None:
        for request in self.control.requests() if self.control else []:
            self._answer(request)

    def _look(self, now_s: float, elapsed_s: float) -> None:
        self.look(now_s)
        self._answer_all()
        if self.duration_s is not None and elapsed_s >= self.duration_s:
            self.ended_by = "duration"
        if now_s - self._told_s >= (STATUS_S if self.teller.as_json else WORDS_S):
            self._told_s = now_s
            self.teller.tell("status", f"        {self.words()}", **self.facts())

    def _answer(self, request: dict[str, Any]) -> None:
        name = request.get("id")
        try:
            if "error" in request:
                raise BmsError(str(request["error"]))
            if request.get("quit"):
                self.ended_by = "asked to quit"
                found: dict[str, Any] = {}
            else:
                found = self.answer(request)
        except (BmsError, TypeError, ValueError) as error:  # whatever was asked, the runner goes on
            self.teller.tell("reply", f"        {error}", id=name, ok=False, error=str(error))
        else:
            self.teller.tell("reply", "", id=name, ok=True, **found)
