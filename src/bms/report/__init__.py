"""Reports: one self-contained HTML page from one recording, or several side by side.

    write([recording], "report.html", pictures="folder")

`words.py` says in sentences and figures what happened, `fold.py` reads what a page can show,
`plots.py` draws, the templates set. A recording that lacks signals gets the plots it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bms.recorder import Recording

__all__ = ["MOST", "write"]

MOST = 6  # recordings on one page: more lines cannot be told apart


def write(
    recordings: Sequence[Recording], path: str | Path, *, pictures: str | Path | None = None
) -> list[Path]:
    """Write the page (and PNG files into the folder `pictures`); returns what was written.

    One recording, or up to MOST that are compared. Raises RecorderError when a file cannot be
    written or a recording is damaged.
    """
    from bms.report import page

    return page.write(list(recordings), Path(path), None if pictures is None else Path(pictures))
