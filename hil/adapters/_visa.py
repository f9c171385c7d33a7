"""SCPI over PyVISA, for the adapters that speak it."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from bms.errors import BmsError, LinkError

TIMEOUT_MS = 2000
LOCK = threading.RLock()  # one conversation at a time on the whole bench
NO_ERROR = ("0", "+0")


class Instrument:
    """One VISA resource. Each command is followed by a look at the error queue, each failure is a
    LinkError that names the resource. Safe to use from several threads. identify: what it answers
    to whoever asks what it is."""

    def __init__(
        self, resource: str, visa: str = "@py", terminator: str = "\n", *, identify: str = "*IDN?"
    ) -> None:
        try:
            import pyvisa
        except ImportError:
            raise BmsError(
                f"{resource}: PyVISA is not installed: pip install 'solid-bms[lab]'"
            ) from None
        self.resource, self._lock = resource, LOCK
        self._errors: tuple[type[Exception], ...] = (pyvisa.Error, OSError, ValueError, KeyError)
        try:
            self._manager = pyvisa.ResourceManager(visa)
            self._session: Any = self._manager.open_resource(
                resource, read_termination=terminator, write_termination=terminator,
                timeout=TIMEOUT_MS,
            )  # fmt: skip
        except (*self._errors, Exception) as error:  # each backend has errors of its own
            raise LinkError(
                f"{resource} ({visa}): cannot be opened: {error}; is it on, at this address, and "
                "free?"
            ) from None
        if not self._says(identify):
            raise LinkError(
                f"{resource} ({visa}): cannot be opened: nothing answers {identify}; is it on, at "
                "this address, and free?"
            )

    def _says(self, question: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.ask(question)
            except LinkError:
                return ""

    def write(self, command: str) -> None:
        """A command, and the instrument's word that it took it."""
        with self._lock:
            self._do(command, lambda: self._session.write(command))
            said = self.ask("SYST:ERR?")
        if said.split(",")[0].strip() not in NO_ERROR:
            raise LinkError(f"{self.resource}: {command} was refused: {said}")

    def ask(self, query: str) -> str:
        """The answer to a query."""
        with self._lock:
            return str(self._do(query, lambda: self._session.query(query))).strip()

    def number(self, query: str) -> float:
        """The answer as a number."""
        said = self.ask(query)
        try:
            return float(said.split(",")[0])
        except ValueError:
            raise LinkError(f"{self.resource}: {query}: answered {said!r}, no number") from None

    def _do(self, command: str, what: Any) -> Any:
        try:
            return what()
        except self._errors as error:
            raise LinkError(f"{self.resource}: {command}: {error}") from None

    def close(self) -> None:
        """Ends the session."""
        self._session.close()
