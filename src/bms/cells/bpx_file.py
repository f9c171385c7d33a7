"""BPX files read with suspicion: valid by the standard's schema, and none of it is executed."""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..rng import exact_exp

Curve = Callable[[float], float]


def read(path: Path) -> dict[str, Any]:
    """The file, valid by the standard's own schema, in its present version."""
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, "", str(error), "a BPX file") from None
    except ValueError as error:
        raise ConfigError(path, "", str(error), "JSON") from None
    if not isinstance(told, dict) or not {"Header", "Parameterisation"} <= set(told):
        raise ConfigError(path, "", type(told).__name__, "Header and Parameterisation of BPX")
    for key, text in _texts(told["Parameterisation"]):
        parse(path, key, text)  # before anybody else sees it: other readers execute it
    model = (told["Header"] or {}).get("Model")
    if model != "DFN":
        expected = "DFN: without electrolyte and separator there is no resistance to map"
        raise ConfigError(path, "Header.Model", model, expected)
    try:
        import bpx
        from pydantic import ValidationError
    except ImportError as error:
        expected = "the package bpx: pip install 'solid-bms[bpx]'"
        raise ConfigError("option", "import-bpx", str(error.name), expected) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = bpx.parse_bpx_obj(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "Parameterisation"
        raise ConfigError(path, where, first.get("input"), first["msg"]) from None
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise ConfigError(path, "Parameterisation", str(error), "BPX by its schema") from None
    plain: dict[str, Any] = made.model_dump(by_alias=True, exclude_none=True)
    return plain


def _texts(value: Any, key: str = "Parameterisation") -> Iterator[tuple[str, str]]:
    """Every text below a section, with its dotted key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "description":
                yield from _texts(inner, f"{key}.{name}")
    elif isinstance(value, str):
        yield key, value


FUNCTIONS: dict[str, Curve] = {
    "exp": lambda x: exact_exp(min(x, 700.0)),
    "tanh": lambda x: 1.0 - 2.0 / (exact_exp(min(2.0 * x, 700.0)) + 1.0),
    "cosh": lambda x: 0.5 * (exact_exp(min(x, 700.0)) + exact_exp(min(-x, 700.0))),
}
OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b, ast.Pow: lambda a, b: a**b,
}  # fmt: skip


def parse(path: Path, key: str, text: str) -> Curve:
    """An expression in x as a function. ConfigError for anything else than arithmetic."""
    expected = "arithmetic in x with numbers, exp, tanh and cosh"
    if len(text) > 5000:
        raise ConfigError(path, key, text, expected)
    try:
        made = _compile(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(path, key, text, expected) from None

    def curve(x: float) -> float:
        try:
            value = made(x)
        except (ArithmeticError, ValueError):
            value = math.nan
        if isinstance(value, complex) or not math.isfinite(value):
            raise ConfigError(path, key, text, f"a number at x = {x:g}")
        return float(value)

    return curve


def _compile(node: ast.expr) -> Curve:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = float(node.value)
        return lambda _x: value
    if isinstance(node, ast.Name) and node.id == "x":
        return lambda x: x
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner, sign = _compile(node.operand), -1.0 if isinstance(node.op, ast.USub) else 1.0
        return lambda x: sign * inner(x)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right, both = _compile(node.left), _compile(node.right), OPERATORS[type(node.op)]
        return lambda x: both(left(x), right(x))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in FUNCTIONS or len(node.args) != 1 or node.keywords:
            raise ValueError
        of, argument = FUNCTIONS[node.func.id], _compile(node.args[0])
        return lambda x: of(argument(x))
    raise ValueError
