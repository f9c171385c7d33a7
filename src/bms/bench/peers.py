"""Other people's software that a benchmark runs beside ours, when it is installed.

A benchmark never needs a peer: what is missing is reported as `null`, with the line that installs
it.
"""

from __future__ import annotations

import importlib.util
from importlib import import_module
from typing import Any

import msgspec


class Peer(msgspec.Struct, frozen=True):
    """One Python package to compare with. `needs` is what pip is told, versions included."""

    title: str
    module: str
    needs: str

    @property
    def install(self) -> str:
        """The line to type."""
        return f"pip install {self.needs}"

    def installed(self) -> bool:
        """Whether it can be imported, found out without importing it."""
        return importlib.util.find_spec(self.module) is not None

    def load(self) -> Any:
        """The imported module, or None when it is not installed."""
        return import_module(self.module) if self.installed() else None


PEERS = {
    peer.module: peer
    for peer in (
        Peer("PyBaMM", "pybamm", "pybamm"),
        Peer("thevenin", "thevenin", "thevenin"),
        Peer("liionpack", "liionpack", "liionpack 'pybamm<25' 'casadi<3.7' 'numpy<2' 'pandas<3'"),
        Peer("filterpy", "filterpy", "filterpy"),
        Peer("simdkalman", "simdkalman", "simdkalman"),
        Peer("asammdf", "asammdf", "asammdf"),
        Peer("python-can", "can", "python-can"),
    )
}
"""By module name. liionpack fails with the newest of its own dependencies: give it its own venv."""
