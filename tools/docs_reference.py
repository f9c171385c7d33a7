"""Reference pages made from the code: commands, file formats, protocols, Python.

python tools/docs_reference.py FOLDER      writes them where they can be looked at
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from bms import cli
from bms.units import unit_of

ROOT = Path(__file__).resolve().parent.parent


def pages() -> dict[str, str]:
    """Path in the site -> Markdown."""
    return {
        "reference/commands.md": commands(),
        "reference/python.md": python(),
        "reference/cell-file.md": cell_file(),
        "reference/pack-file.md": pack_file(),
        "reference/scenario-file.md": scenario_file(),
        "reference/manifest.md": manifest(),
        "reference/protocols.md": protocols(),
    }


def cut(text: str) -> str:
    """A docstring without its indentation."""
    return inspect.cleandoc(text or "")


def cell(text: object) -> str:
    """Text that fits a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def table(heads: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """A Markdown table; "" without rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# ---- commands ----


def commands() -> str:
    """Every sub-command, from its argparse parser."""
    parts = [
        "# Commands\n\nWrong input gives one sentence with file, key, value and expectation. Exit "
        "codes: 0 done, 1 failed, 2 bad input, 3 a link, 4 a recording, 130 Ctrl-C, "
        "143 terminated.\n"
    ]
    overview = [(f"[`bms {name}`](#bms-{name})", text) for name, text in cli.commands().items()]
    parts.append(table(("command", "what it does"), list(overview)))
    for name in cli.commands():
        module = import_module(f"bms.cli.{name.replace('-', '_')}")
        parser = argparse.ArgumentParser(prog=f"bms {name}", allow_abbrev=False)
        module.arguments(parser)
        parts.append(command(f"bms {name}", cut(module.__doc__ or module.HELP), parser))
    return "\n".join(parts)


def command(title: str, text: str, parser: argparse.ArgumentParser, level: int = 2) -> str:
    """One command, and below it its own sub-commands."""
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    lines = [f"{'#' * level} {title}\n", "```text\n" + textwrap.fill(usage, 92) + "\n```\n"]
    if text:
        head, *rest = text.split("\n\n")
        lines.append(re.sub(r"^`bms [^`]*`: ", "", head.replace("\n", " ")) + "\n")
        lines += [f"```text\n{part}\n```\n" if "  " in part else part + "\n" for part in rest]
    lines.append(table(("argument", "what"), list(_arguments(parser))))
    for name, below in _subparsers(parser):
        lines.append(command(f"{title} {name}", "", below, level + 1))
    return "\n".join(lines)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        shown = " ".join(parser._get_formatter()._format_args(action, action.dest.upper()).split())
        names = ", ".join(f"`{o} {shown}`".replace(" `", "`") for o in action.option_strings)
        told = (action.help or "") % {**vars(action), "prog": parser.prog}
        if action.choices and not shown.startswith("{"):
            told += f" ({', '.join(map(str, action.choices))})"
        yield names or f"`{action.metavar or action.dest}`", told


def _subparsers(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


# ---- files ----


def cell_file() -> str:
    """Schema of cells/*.toml."""
    from bms import model

    head = (
        "# Cell files\n\nA cell is one TOML file; `bms cells` lists the library. "
        'Every value says where it is from: `key = { value = 77.0, source = "..." }`, or '
        "`assumption` in place of `source`; a table's own `source` or `assumption` holds for all "
        "its values. Unknown keys are refused.\n"
    )
    return head + schema(model.Cell)


def pack_file() -> str:
    """Schema of packs/*.toml."""
    from bms import model

    head = (
        "# Pack files\n\nA pack is one string of blocks, a block one or more cells in parallel. "
        "Values say where they are from as in [cell files](cell-file.md). Limits are triplets: "
        "operate, warn, trip.\n"
    )
    return head + schema(model.Pack)


def scenario_file() -> str:
    """Schema of scenarios/*.toml."""
    from bms.scenarios import model

    head = (
        "# Scenario files\n\nWhat happens to a pack; [the library](../scenarios.md) explains the "
        "ideas. A phase names its `kind`; an act is done to the world at a time.\n"
    )
    return head + schema(model.Scenario)


def manifest() -> str:
    """Schema of fit manifests."""
    from bms.fit import manifest as module

    head = "# Fit manifests\n\nWhat `bms fit` reads; [fitting a cell](../fit.md) explains it.\n"
    return head + schema(module.Manifest)


def schema(top: type[msgspec.Struct]) -> str:
    """A section for a struct and each struct below it, in the order they are met."""
    waiting, told, parts = [("", top)], set[Any](), []
    while waiting:
        key, struct = waiting.pop(0)
        if struct in told:
            continue
        told.add(struct)
        rows, notes = [], comments(struct)
        for field in msgspec.structs.fields(struct):
            if field.name in ("provenance", "file", "path") and not key:
                continue
            if "filled by the loader" in notes.get(field.name, ""):
                continue
            name = f"{key}.{field.encode_name}" if key else field.encode_name
            below = list(structs(field.type))
            waiting += [(_key(name, field.type, b), b) for b in below]
            rows.append((
                f"`{field.encode_name}`", kind(field.type, below), unit_of(field.name),
                default(field), notes.get(field.name, "").replace("None:", "absent:"),
            ))  # fmt: skip
        title = f"`[{key}]`" if key else "The file itself"
        tag = struct.__struct_config__.tag
        if tag:
            title += f' with `{struct.__struct_config__.tag_field} = "{tag}"`'
        text = own_doc(struct)
        parts.append(f"\n## {title}\n\n{text}\n")
        parts.append(table(("key", "kind", "unit", "default", "what"), rows))
    return "\n".join(parts)


def own_doc(struct: type) -> str:
    """The docstring a struct has of its own."""
    text = struct.__dict__.get("__doc__") or ""
    return "" if text.startswith(struct.__name__ + "(") else cut(text)


def _key(name: str, kind: Any, struct: type) -> str:
    return f"[{name}]" if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis else name


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Structs inside a type."""
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from structs(part)


def kind(of: Any, below: list[type]) -> str:
    """A type in words."""
    if below:
        is_list = get_origin(of) in (tuple, list)
        many = "tables, see below" if is_list else "table, see below"
        return "map of tables" if get_origin(of) is dict else many
    if get_origin(of) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(of))
    if get_origin(of) in (typing.Union, types.UnionType):
        return " or ".join(kind(part, []) for part in get_args(of) if part is not type(None))
    if get_origin(of) is tuple:
        parts = get_args(of)
        if parts[-1] is Ellipsis:
            return f"list of {kind(parts[0], [])}s"
        return f"{len(parts)} {kind(parts[0], [])}s"
    if get_origin(of) in (dict, Mapping):
        return "table"
    return {float: "number", int: "whole number", str: "text", bool: "true or false"}.get(
        of, getattr(of, "__name__", str(of))
    )


def default(field: Any) -> str:
    """Default of a key; "required" without one."""
    if field.default is not msgspec.NODEFAULT:
        value = field.default
        if value is None:
            return "absent"
        if value in ((), "", {}):
            return "empty"
        return "see below" if isinstance(value, msgspec.Struct) else f"`{value}`"
    return "required" if field.default_factory is msgspec.NODEFAULT else "empty"


def comments(struct: type) -> dict[str, str]:
    """Field -> the comment that stands behind it, or inside its brackets, in the source."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base.__module__.startswith("bms"):
            found |= _comments_in(base)
    return found


def _comments_in(struct: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(struct))
    lines = source.splitlines()
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            span = lines[node.lineno - 1 : node.end_lineno]
            texts = [m[1] for line in span if (m := re.search(r"\s#\s(.*)$", line))]
            if texts:
                found[node.target.id] = " ".join(texts)
    return found


# ---- protocols ----


def protocols() -> str:
    """Every wire protocol: what its module says, and the vectors it is tested with."""
    folder = ROOT / "src" / "bms" / "protocols"
    parts = [
        "# Protocols\n\nBytes to messages and back, one file each in `src/bms/protocols`. Every "
        "vector below is decoded and encoded again by a test; its source says where it is from. "
        "Inside solid-bms a positive current discharges; each protocol says what it is on its "
        "own wire.\n"
    ]
    for path in sorted(folder.glob("[a-z]*.py")):
        module = import_module(f"bms.protocols.{path.stem}")
        parts.append(f"\n## {path.stem}\n\n{prose(module.__doc__ or '')}\n")
        sign = getattr(module, "CURRENT_SIGN", None)
        if isinstance(sign, int):
            parts.append(
                f"Positive current on the wire {'discharges' if sign > 0 else 'charges'}.\n"
            )
        rows = [row for v in getattr(module, "VECTORS", ()) if (row := _vector(v))]
        parts.append(table(("on the wire", "message", "source"), rows))
    return "\n".join(parts)


def prose(text: str) -> str:
    """A docstring as Markdown: blocks with columns or indentation stay as they are."""
    blocks = cut(text).split("\n\n")
    return "\n\n".join(
        f"```text\n{block}\n```" if re.search(r"^ {2,}|\S {3,}\S", block, re.MULTILINE) else block
        for block in blocks
    )


def _vector(vector: Any) -> tuple[str, str, str] | None:
    if not hasattr(vector, "wire"):
        return None
    wire = vector.wire
    data = getattr(wire, "data", wire)
    head = f"{wire.can_id:03X}: " if hasattr(wire, "can_id") else ""
    shown = " ".join(f"{byte:02X}" for byte in data[:24]) + (" ..." if len(data) > 24 else "")
    message = repr(vector.message)
    message = message if len(message) < 140 else message[:137] + "..."
    return f"`{head}{shown}`", f"`{message}`", vector.source


# ---- Python ----


def python() -> str:
    """The public classes, from their docstrings."""
    import bms

    parts = [
        "# Python\n\n`import bms` costs nothing; each of these is imported when it is first used.\n"
    ]
    for name in bms.__all__:
        thing = getattr(bms, name)
        if not inspect.isclass(thing):
            continue
        parts.append(f"\n## bms.{name}\n\n{prose(own_doc(thing))}\n")
        if name in FILES:
            parts.append(f"The data of [a file]({FILES[name]}); every key is an attribute.\n")
        parts += [f"**`{shown}`**\n:   {text}\n" for shown, text in members(thing)]
    return "\n".join(parts)


FILES = {"Cell": "cell-file.md", "Pack": "pack-file.md"}


def members(thing: type) -> Iterator[tuple[str, str]]:
    """Public methods and properties as they are called, with what they say of themselves."""
    for key, member in vars(thing).items():
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        text = prose(getattr(member, "__doc__", None) or "")
        is_ours = inspect.isfunction(member) or isinstance(member, property | cached_property)
        if key.startswith("_") or not text or not is_ours:
            continue
        call = "" if not inspect.isfunction(member) else _call(member)
        yield f"{key}{call}", text.replace("\n", "\n    ")


def _call(function: types.FunctionType) -> str:
    """Its parameters and defaults, without types."""
    kept = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in inspect.signature(function).parameters.values()
        if p.name not in ("self", "cls")
    ]
    return str(inspect.Signature(kept))


if __name__ == "__main__":
    for page, text in pages().items():
        place = Path(sys.argv[1]) / page
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
        print(place)
