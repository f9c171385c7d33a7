"""The panels, one file each, found by discovery.

A panel module has TITLE, AREA ("top", "left", "right", "bottom", "centre"), ORDER and a class
`Panel(QWidget)` made with (view, theme), whose `tell(snapshot)` draws it. A panel reads snapshots,
asks through the view, and knows nothing else.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType


def modules() -> list[ModuleType]:
    """All panel modules, in their order."""
    found = [import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return sorted((m for m in found if hasattr(m, "Panel")), key=lambda m: (m.ORDER, m.TITLE))
