"""The firmware with a patch in it, as a shared library that fits ecu.h.

    with built(Path("wrong.diff")) as library:
        play(story, firmware=library)

Patches are unified diffs against `ext/` (any number of leading path parts), applied here without
other tools: a hunk is looked for near where it says it is, then anywhere in its file, then with
less of its context, so that a patch survives the file around it growing. The sources are those
beside this package in a clone, or in the folder that BMS_SOURCES names (which holds `ext/`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bms.errors import ConfigError

FLAGS = (
    "-std=c99", "-D_DEFAULT_SOURCE", "-O2", "-ffp-contract=off", "-fno-math-errno",
    "-fno-trapping-math", "-funsigned-char", "-fPIC", "-w",
)  # fmt: skip
PARTS = ("firmware", "common")
FOLDERS = ("common", "firmware", "firmware/generated")
PATCH_MAX_BYTES = 1_000_000
COMPILE_S = 120.0


class Hunk(NamedTuple):
    """Lines that are there, and what they become; `start` is where they should be, from 0."""

    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    before: int  # lines of context at either end, the same in old and new
    after: int


def sources() -> Path:
    """The folder with `ext/`. ConfigError where there is none, with what to do."""
    named = os.environ.get("BMS_SOURCES")
    place = Path(named) if named else Path(__file__).resolve().parents[3]
    if not (place / "ext" / "firmware" / "ecu.h").is_file():
        expected = "a clone of the project, which holds ext/; set BMS_SOURCES to one"
        raise ConfigError(place, "BMS_SOURCES", named or "not set", expected)
    return place


# ---- patches ----


def read(path: Path) -> dict[str, list[Hunk]]:
    """{path under ext/: hunks} of a unified diff. ConfigError for anything else."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        expected = "a unified diff that can be read"
        raise ConfigError(path, "", error.strerror, expected) from error
    if len(raw) > PATCH_MAX_BYTES:
        raise ConfigError(path, "", f"{len(raw)} bytes", f"at most {PATCH_MAX_BYTES}")
    found: dict[str, list[Hunk]] = {}
    target = ""
    lines = raw.decode("utf-8", "replace").splitlines()
    k = 0
    while k < len(lines):
        line = lines[k]
        k += 1
        if line.startswith("+++ "):
            target = _under_ext(path, line[4:].split("\t")[0].strip())
            found.setdefault(target, [])
        elif line.startswith("@@"):
            if not target:
                raise ConfigError(path, f"line {k}", line, "a +++ line before the first hunk")
            hunk, k = _hunk(path, lines, k - 1)
            found[target].append(hunk)
    if not any(found.values()):
        raise ConfigError(path, "", "no hunk", "a unified diff of files in ext/")
    return found


def _under_ext(path: Path, name: str) -> str:
    parts = Path(name).parts
    for k, part in enumerate(parts):
        if part in PARTS and ".." not in parts and len(parts) > k + 1:
            return "/".join(parts[k:])
    expected = "a file of ext/firmware or ext/common"
    raise ConfigError(path, "+++", name, expected)


def _hunk(path: Path, lines: Sequence[str], at: int) -> tuple[Hunk, int]:
    match = re.match(r"@@ -(\d+)", lines[at])
    start = int(match.group(1)) - 1 if match else 0
    old, new, marks = [], [], ""
    k = at + 1
    while k < len(lines) and not lines[k].startswith(("@@", "--- ", "diff ", "index ", "+++ ")):
        mark, text = (lines[k][:1] or " "), lines[k][1:]
        k += 1
        if mark == "\\":
            continue
        if mark not in " +-":
            break
        marks += mark
        if mark != "+":
            old.append(text)
        if mark != "-":
            new.append(text)
    if "+" not in marks and "-" not in marks:
        raise ConfigError(path, f"line {at + 1}", lines[at], "a hunk that changes something")
    before = len(marks) - len(marks.lstrip(" "))
    after = len(marks) - len(marks.rstrip(" "))
    return Hunk(max(0, start), tuple(old), tuple(new), before, after), k


def _bare(line: str) -> str:
    return " ".join(line.split())


def apply(text: str, hunks: Sequence[Hunk], path: str = "") -> str:
    """The text with all hunks in. ConfigError for one that fits nowhere."""
    lines = text.splitlines()
    shift = 0
    for hunk in hunks:
        place, cut_top, cut_end = _find(lines, hunk, hunk.start + shift, path)
        old_count = len(hunk.old) - cut_top - cut_end
        new = hunk.new[cut_top : len(hunk.new) - cut_end]
        lines[place : place + old_count] = new
        shift = place - cut_top - hunk.start + len(hunk.new) - len(hunk.old)
    return "\n".join(lines) + "\n"


def _find(lines: list[str], hunk: Hunk, near: int, path: str) -> tuple[int, int, int]:
    """(place, context lines left out at the top, at the end)."""
    bare = [_bare(line) for line in lines]
    for fuzz in range(max(hunk.before, hunk.after) + 1):
        top, end = min(fuzz, hunk.before), min(fuzz, hunk.after)
        wanted = [_bare(line) for line in hunk.old[top : len(hunk.old) - end]]
        if not wanted:
            if not hunk.old:  # nothing but new lines: the place is all there is
                return min(max(near + 1, 0), len(lines)), 0, 0
            break
        if not any(re.search("[A-Za-z]{3}", line) for line in wanted):
            break  # a brace says nothing about a place
        spots = [
            k for k in range(len(bare) - len(wanted) + 1) if bare[k : k + len(wanted)] == wanted
        ]
        if spots:
            return min(spots, key=lambda k: abs(k - near - top)), top, end
    seen = next((line for line in hunk.old if line.strip()), "")
    raise ConfigError(path, f"hunk at line {hunk.start + 1}", seen.strip(), "lines of the file")


# ---- building ----


@contextmanager
def built(patch: Path | None) -> Iterator[Path]:
    """A shared library of the firmware with `patch` (None: as it is), in a folder that goes away.

    ConfigError for a patch that does not fit or does not compile."""
    with tempfile.TemporaryDirectory(prefix="bms-mutant-") as folder:
        yield build(patch, Path(folder))


def build(patch: Path | None, folder: Path) -> Path:
    """Copies the sources into `folder`, patches and compiles them; the library's path."""
    origin, copy = sources() / "ext", folder / "ext"
    for part in PARTS:
        shutil.copytree(origin / part, copy / part)
    changed = read(patch) if patch else {}
    for name, hunks in changed.items():
        file = copy / name
        if not file.is_file():
            raise ConfigError(patch or "", "+++", name, "a file of ext/firmware or ext/common")
        file.write_text(apply(file.read_text(), hunks, str(patch)))
    units = sorted([*(copy / "firmware").glob("*.c"), *(copy / "firmware/generated").glob("*.c")])
    whole = any(name.endswith(".h") for name in changed)
    objects = []
    for unit in units:
        name = unit.relative_to(copy).as_posix()
        fresh = whole or name in changed
        objects.append(_compiled(unit, copy, folder) if fresh else _kept(unit, copy, folder))
    library = folder / "libfirmware.so"
    _compile(["-shared", "-o", str(library), *map(str, objects)], patch)
    return library


def compiler() -> str:
    """The C compiler: BMS_CC, else gcc or cc. ConfigError without one."""
    named = os.environ.get("BMS_CC", "").split()
    for name in (*named[:1], "gcc", "cc"):
        if shutil.which(name):
            return name
    raise ConfigError("", "compiler", "none", "gcc or cc on the PATH")


def _compiled(unit: Path, copy: Path, folder: Path) -> Path:
    made = folder / (unit.relative_to(copy).as_posix().replace("/", "_") + ".o")
    includes = [f"-I{copy / place}" for place in FOLDERS]
    _compile([*FLAGS, *includes, "-c", str(unit), "-o", str(made)], unit)
    return made


def _kept(unit: Path, copy: Path, folder: Path) -> Path:
    """An object of a file that the patch leaves alone: compiled once for these sources."""
    store = _store(copy)
    name = unit.relative_to(copy).as_posix().replace("/", "_") + ".o"
    if not (store / name).is_file():
        made = _compiled(unit, copy, folder)
        store.mkdir(parents=True, exist_ok=True)
        part = store / f"{name}.{os.getpid()}"
        shutil.copy(made, part)
        part.replace(store / name)
    return store / name


def _store(copy: Path) -> Path:
    """Where objects of exactly these sources (as they are, without the patch) are kept."""
    import platformdirs

    digest = hashlib.sha256(" ".join((compiler(), *FLAGS)).encode())
    origin = sources() / "ext"
    for part in PARTS:
        for file in sorted((origin / part).rglob("*.[ch]")):
            digest.update(file.read_bytes())
    return Path(platformdirs.user_cache_dir("solid-bms")) / "objects" / digest.hexdigest()[:16]


def _compile(arguments: Sequence[str], patch: Path | None) -> None:
    try:
        done = subprocess.run(
            [compiler(), *arguments], capture_output=True, text=True, timeout=COMPILE_S
        )
    except subprocess.TimeoutExpired as error:
        expected = f"compiled within {COMPILE_S:g} s"
        raise ConfigError(patch or "", "compiler", "timeout", expected) from error
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise ConfigError(patch or "", "compiler", first.strip()[-300:], "C that compiles")
