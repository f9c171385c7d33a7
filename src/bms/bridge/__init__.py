"""CAN and serial links joined by rules: a daemon that may be left running.

    plan = bridge.load("bridge.toml")         # checked; ConfigError says what is wrong
    with Bridge(plan) as running:             # a compiled loop in a thread of its own
        running.status()

`config.py` is the file, `table.py` makes rules flat, `daemon.py` runs and reloads, `serve.py` is
the service around it (control socket, metrics, log, systemd). docs/bridge.md is the manual.
"""

from __future__ import annotations

from .config import Plan, load, schema
from .daemon import Bridge

__all__ = ["Bridge", "Plan", "load", "schema"]
