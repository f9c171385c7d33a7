"""TOML files into frozen structs; every refusal names file, key, value and what was expected.

    tree = load_toml(path)                        # syntax, encoding
    values, provenance = strip(tree, path)        # cells and packs: each value says where from
    cell = convert(values, model.Cell, path)      # keys, types, finite numbers
    rising(path, "electric.ocv_v", cell.electric.ocv_v)      # what a type cannot say

In a file with provenance a value is written as `key = { value = 77.0, source = "..." }`, or with
`assumption` in place of `source`. A table may instead carry one `source` or `assumption` for all
plain values below it. Files without provenance (scenarios) skip `strip`.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .errors import ConfigError

T = TypeVar("T")
Tree = dict[str, Any]

WORDS = ("name", "title", "description")
"""A file's own words about itself: they need no provenance."""

_ORIGINS = ("source", "assumption")


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()
"""Stands for an absent value in a ConfigError: `got nothing`."""


def load_toml(path: str | Path) -> Tree:
    """Parse a TOML file; ConfigError names the line that is not TOML, or why it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, "", error.strerror or "an error", "a readable file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", error.object[error.start : error.end], "UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        lines = text.splitlines()
        number = int(found[1]) if found else len(lines)
        line = lines[number - 1].strip() if 0 < number <= len(lines) else NOTHING
        raise ConfigError(path, f"line {number}", line, f"TOML: {error}") from None


def strip(tree: Tree, file: object, exempt: Sequence[str] = WORDS) -> tuple[Tree, dict[str, str]]:
    """Separate values from provenance.

    Returns the tree of plain values and `{dotted key: "source: ..." | "assumption: ..."}`, one
    entry for each value. Top-level keys in `exempt` need none. ConfigError for a value that does
    not say where it is from.
    """
    provenance: dict[str, str] = {}

    def walk(table: Tree, path: str, inherited: str) -> Tree:
        origin = _origin(table, file, path) or inherited
        values: Tree = {}
        for name, value in table.items():
            key = f"{path}.{name}" if path else name
            if name in _ORIGINS:
                continue
            if not isinstance(value, dict):
                if not origin and not (path == "" and name in exempt):
                    raise ConfigError(file, key, value, "a `source` or an `assumption` beside it")
                if origin:
                    provenance[key] = origin
                values[name] = value
            elif "value" in value:
                values[name] = value["value"]
                provenance[key] = _leaf_origin(value, file, key)
            else:
                values[name] = walk(value, key, origin)
        return values

    return walk(tree, "", ""), provenance


def _origin(table: Tree, file: object, path: str) -> str:
    """`source: ...` or `assumption: ...` of a table; empty if it has neither."""
    present = [name for name in _ORIGINS if name in table]
    if not present:
        return ""
    name = present[0]
    key = f"{path}.{name}" if path else name
    if len(present) > 1:
        raise ConfigError(file, key, table[name], "either `source` or `assumption`, not both")
    if not isinstance(table[name], str) or not table[name].strip():
        raise ConfigError(file, key, table[name], "a sentence that says where the value is from")
    return f"{name}: {table[name]}"


def _leaf_origin(leaf: Tree, file: object, key: str) -> str:
    for name in leaf:
        if name not in ("value", *_ORIGINS):
            raise ConfigError(
                file, f"{key}.{name}", leaf[name], "`value` with `source` or `assumption`"
            )
    if isinstance(leaf["value"], dict):
        raise ConfigError(file, key, leaf["value"], "a number, a text or an array as `value`")
    origin = _origin(leaf, file, key)
    if not origin:
        raise ConfigError(file, key, leaf["value"], "a `source` or an `assumption` beside it")
    return origin


def convert(tree: Tree, type_: type[T], file: object, added: Mapping[str, Any] | None = None) -> T:
    """Build a struct from plain values; integers pass as floats, nothing else is bent.

    `added` holds fields that the loader fills and a file may not. ConfigError for an unknown key
    (with the nearest known one, or the unit that is missing from it), a missing key, a wrong
    type, and NaN or infinity anywhere.
    """
    added = added or {}
    for name in added:
        if name in tree:
            raise ConfigError(
                file, name, tree[name], "a known key; this one is filled in by the loader"
            )
    for key, value in _leaves(tree):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(file, key, value, "a finite number")
    try:
        return msgspec.convert({**tree, **added}, type_)
    except msgspec.ValidationError as error:
        raise _explain(str(error), tree, type_, file) from None


def load(path: str | Path, type_: type[T]) -> T:
    """Read a file without provenance into a struct."""
    return convert(load_toml(path), type_, path)


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{key}.{name}" if key else name)
    elif isinstance(tree, list):
        for i, value in enumerate(tree):
            yield from _leaves(value, f"{key}[{i}]")
    else:
        yield key, tree


def _explain(message: str, tree: Tree, type_: Any, file: object) -> ConfigError:
    """msgspec's message (`... - at `$.electric.ocv_v[3]``) as file, key, value, expectation."""
    found = re.fullmatch(
        r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?", message, re.DOTALL
    )
    assert found is not None
    what, steps = found["what"], re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", found["path"] or "")
    path, here = _follow(tree, steps, type_, message)
    nodes = _nodes(type_, path)
    known = [f.encode_name for n in nodes for f in getattr(n, "fields", ())]
    if unknown := re.search(r"unknown field `(.*)`", what):
        child = here.get(unknown[1], NOTHING) if isinstance(here, dict) else NOTHING
        return ConfigError(file, _dotted([*path, unknown[1]]), child, _nearest(unknown[1], known))
    if missing := re.search(r"missing required field `(.*)`", what):
        key = _dotted([*path, missing[1]])
        return ConfigError(file, key, NOTHING, "a value: the key is missing")
    choices = [str(v) for n in nodes for v in getattr(n, "values", ())]
    if choices and what.startswith("Invalid"):
        return ConfigError(file, _dotted(path), here, "one of " + ", ".join(choices))
    expected = re.sub(r", got .*$", "", what.replace("`", "").removeprefix("Expected "))
    return ConfigError(file, _dotted(path), here, expected)


def _follow(
    tree: Tree, steps: Sequence[tuple[str, str]], type_: Any, message: str
) -> tuple[list[str | int], Any]:
    """The path of a message as keys and indices, and the value there (NOTHING if it has none).

    msgspec writes `[...]` for a key of a mapping: it is the one that fails alone as it did
    among the others.
    """
    path: list[str | int] = []
    here: Any = tree
    for name, index in steps:
        key: str | int = name or (int(index) if index.isdigit() else index)
        if index == "..." and isinstance(here, dict):
            alone = (k for k in here if _fails(_keep(tree, path, k), type_, message))
            key = next(alone, key)
        try:
            here = here[key]
        except (KeyError, IndexError, TypeError):
            return [*path, key], NOTHING
        path.append(key)
    return path, here


def _keep(tree: Any, path: Sequence[str | int], key: str) -> Any:
    """A copy in which the mapping at `path` has only one key left."""
    if not path:
        return {key: tree[key]}
    copy = tree.copy()
    copy[path[0]] = _keep(tree[path[0]], path[1:], key)
    return copy


def _fails(tree: Tree, type_: Any, message: str) -> bool:
    try:
        msgspec.convert(tree, type_)
    except msgspec.ValidationError as error:
        return str(error) == message
    return False


def _dotted(path: Sequence[str | int]) -> str:
    """`electric.ocv_v[3]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _nodes(type_: Any, path: Sequence[str | int]) -> list[Any]:
    """The types that a path leads to; several where one of them is a union."""
    here = list(_alternatives(msgspec.inspect.type_info(type_)))
    for step in path:
        if isinstance(step, str):
            fields = [
                f.type for n in here for f in getattr(n, "fields", ()) if f.encode_name == step
            ]
            values = [n.value_type for n in here if isinstance(n, msgspec.inspect.DictType)]
            here = [leaf for node in (*fields, *values) for leaf in _alternatives(node)]
    return here


def _alternatives(node: Any) -> Iterator[Any]:
    """A type, looked at through unions and the items of arrays."""
    if isinstance(node, msgspec.inspect.UnionType):
        for member in node.types:
            yield from _alternatives(member)
    elif isinstance(node, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        yield from _alternatives(node.item_type)
    elif isinstance(node, msgspec.inspect.TupleType):
        for member in node.item_types:
            yield from _alternatives(member)
    else:
        yield node


def _nearest(name: str, known: Sequence[str]) -> str:
    """What to write in place of an unknown key."""
    units = [k for k in known if k.startswith(f"{name}_")]
    if units:
        return f"a unit in the name: `{units[0]}`"
    stem = name.rpartition("_")[0]
    same = [k for k in known if stem and k.rpartition("_")[0] == stem]
    close = same or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"a known key; nearest is `{close[0]}`"
    return "a known key: " + ", ".join(known) if known else "no such key here"


def override(tree: Tree, assignment: str, provenance: dict[str, str] | None = None) -> None:
    """Change one value in place: `a.b.c=VALUE`, VALUE in TOML or a bare word. The key must exist.

    For a tree of plain values; with `provenance` the origin of the value becomes "assumption: set
    by hand".
    """
    key, equals, text = assignment.partition("=")
    *tables, last = (part.strip() for part in key.split("."))
    if not equals or not last:
        raise ConfigError("option", assignment, NOTHING, "KEY=VALUE")
    table = tree
    for name in tables:
        table = table.get(name, NOTHING) if isinstance(table, dict) else NOTHING
    if not isinstance(table, dict) or last not in table:
        known = [k for k, _ in _leaves(tree)]
        raise ConfigError("option", key.strip(), text, _nearest(key.strip(), known))
    try:
        table[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = text.strip()
    if provenance is not None:
        provenance[key.strip()] = "assumption: set by hand"


def names(folder: Path) -> tuple[str, ...]:
    """Names in a library folder, sorted: its TOML files."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def resolve(name_or_path: str | Path, folder: Path, kind: str, beside: Path | None = None) -> Path:
    """The file of a library name, or the path itself (relative to `beside` if given).

    Anything with a slash or ending in .toml is a path. ConfigError suggests close names. `kind`
    is a word for messages.
    """
    text = str(name_or_path)
    if "/" in text or "\\" in text or text.endswith(".toml"):
        path = Path(text) if beside is None else beside / text
        try:
            found = path.is_file()
        except OSError:  # a name longer than the file system takes
            found = False
        require(found, path, "", NOTHING, f"a {kind} file there")
        return path
    known = names(folder)
    if text in known:
        return folder / f"{text}.toml"
    close = difflib.get_close_matches(text, known, n=3, cutoff=0.4)
    hint = "did you mean " + " or ".join(close) if close else "known: " + ", ".join(known)
    raise ConfigError(kind, "name", text, f"the name of a {kind} or a path to its file; {hint}")


# Checks that a type cannot express. Each raises ConfigError, or returns nothing.


def require(condition: bool, file: object, key: str, value: object, expected: str) -> None:
    """Refuse `value` unless the condition holds."""
    if not condition:
        raise ConfigError(file, key, value, expected)


def between(file: object, key: str, value: float, low: float, high: float) -> None:
    """Closed range."""
    require(low <= value <= high, file, key, value, f"a value from {low:g} to {high:g}")


def positive(file: object, key: str, value: float) -> None:
    """Above zero."""
    require(value > 0, file, key, value, "a value above 0")


def rising(file: object, key: str, values: Sequence[float]) -> None:
    """Strictly rising; the message shows the first pair that is not."""
    for i in range(1, len(values)):
        pair = values[i - 1 : i + 1]
        require(pair[0] < pair[1], file, f"{key}[{i}]", list(pair), "strictly rising values")


def ordered(file: object, key: str, triplet: Sequence[float], *, up: bool) -> None:
    """operate, warn, trip from mild to severe: rising for an upper limit, else falling."""
    mild, warn, severe = triplet
    good = mild <= warn <= severe if up else mild >= warn >= severe
    order = "operate <= warn <= trip" if up else "operate >= warn >= trip"
    require(good, file, key, list(triplet), f"limits in order, {order}")
