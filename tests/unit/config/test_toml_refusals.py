"""Whatever is wrong in a TOML file, the refusal names file, key, value and what was expected."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms import config
from bms.errors import ConfigError


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    capacity_ah: float
    ocv_v: tuple[float, ...]
    cells: int = 1


class Lid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="lid"):
    width_m: float


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    inner: Inner
    kind: Literal["solid", "liquid"] = "solid"
    triplet: tuple[float, float, float] = (1.0, 2.0, 3.0)
    steps: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    maybe: Lid | None = None


GOOD = {"name": "x", "inner": {"capacity_ah": 77, "ocv_v": [3.0, 4.2]}}


def _with(path: str, value: object) -> config.Tree:
    tree: config.Tree = {**GOOD, "inner": dict(GOOD["inner"])}  # type: ignore[call-overload]
    *tables, last = path.split(".")
    here = tree
    for name in tables:
        here = here.setdefault(name, {})
    here[last] = value
    return tree


def _refusal(tree: config.Tree) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.convert(tree, Outer, "cell.toml")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("cell.toml: ")
    return caught.value


def test_integers_pass_as_floats() -> None:
    built = config.convert(GOOD, Outer, "cell.toml")
    assert built.inner.capacity_ah == 77.0 and isinstance(built.inner.capacity_ah, float)


@pytest.mark.parametrize(
    ("path", "value", "key", "told"),
    [
        ("inner.capacity", 77, "inner.capacity", "a unit in the name: `capacity_ah`"),
        ("inner.capacity_mah", 77e3, "inner.capacity_mah", "nearest is `capacity_ah`"),
        ("inner.capasity_ah", 77, "inner.capasity_ah", "nearest is `capacity_ah`"),
        ("iner", 1, "iner", "nearest is `inner`"),
        ("zzzzzz", 1, "zzzzzz", "a known key: name, inner"),
        ("inner.capacity_ah", "77", "inner.capacity_ah", "float"),
        ("inner.capacity_ah", True, "inner.capacity_ah", "float"),
        ("inner.cells", 1.5, "inner.cells", "int"),
        ("inner.ocv_v", [3.0, "4.2"], "inner.ocv_v[1]", "float"),
        ("inner.ocv_v", 3.0, "inner.ocv_v", "array"),
        ("inner", 3.0, "inner", "object"),
        ("kind", "sold", "kind", "one of liquid, solid"),
        ("triplet", [1.0, 2.0], "triplet", "length 3"),
        ("steps", [{"capacity": 1, "ocv_v": []}], "steps[0].capacity", "`capacity_ah`"),
        (
            "named",
            {"b": {"capacity_ah": 1, "ocv_v": []}, "a": {"capacity": 1, "ocv_v": []}},
            "named.a.capacity",
            "`capacity_ah`",
        ),
        ("maybe", {"type": "lid", "width": 1}, "maybe.width", "a unit in the name: `width_m`"),
        ("inner.capacity_ah", float("nan"), "inner.capacity_ah", "a finite number"),
        ("inner.ocv_v", [3.0, float("inf")], "inner.ocv_v[1]", "a finite number"),
    ],
)
def test_refusal_names_key_and_expectation(path: str, value: object, key: str, told: str) -> None:
    error = _refusal(_with(path, value))
    assert error.key == key
    assert told in error.expected


def test_wrong_value_is_shown() -> None:
    assert _refusal(_with("inner.capacity_ah", "77")).value == "77"
    assert "got '77'" in str(_refusal(_with("inner.capacity_ah", "77")))


def test_missing_key_is_named_and_nothing_was_found() -> None:
    error = _refusal({"name": "x", "inner": {"ocv_v": []}})
    assert error.key == "inner.capacity_ah"
    assert "got nothing, expected a value: the key is missing" in str(error)


def test_keys_of_the_loader_are_refused_in_a_file() -> None:
    with pytest.raises(ConfigError, match="filled in by the loader"):
        config.convert({**GOOD, "kind": "solid"}, Outer, "cell.toml", {"kind": "solid"})


@pytest.mark.parametrize(
    ("content", "key", "told"),
    [
        (b"a = 1\nb = = 2\n", "line 2", "TOML"),
        (b"a = 1\na = 2\n", "line 2", "TOML"),
        (b"a = [1,\n2\n", "line", "TOML"),
        (b'a = "\xff"\n', "", "UTF-8"),
    ],
)
def test_broken_toml_names_the_line(tmp_path: Path, content: bytes, key: str, told: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load_toml(path)
    assert caught.value.file == str(path)
    assert caught.value.key.startswith(key)
    assert told in caught.value.expected


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match="a readable file"):
            config.load_toml(path)


def test_any_text_loads_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "any.toml"

    @given(st.binary(max_size=200))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            config.load_toml(path)
        except ConfigError as error:
            assert error.file == str(path)

    check()


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)  # fmt: skip


@given(
    st.sampled_from(
        ["name", "inner", "inner.capacity_ah", "inner.ocv_v", "steps", "named", "maybe", "new"]
    ),
    LEAVES,
)
def test_any_value_converts_or_is_refused(path: str, value: object) -> None:
    tree = _with(path, value)
    try:
        config.convert(tree, Outer, "cell.toml")
    except ConfigError as error:
        assert error.key.startswith(path.split(".", maxsplit=1)[0])


class TestProvenance:
    def test_each_value_keeps_its_origin_and_tables_share_theirs(self) -> None:
        tree = {
            "name": "x",
            "a": {"value": 1.0, "source": "a book"},
            "b": {
                "assumption": "chosen",
                "c": 2.0,
                "d": {"e": [1, 2]},
                "f": {"value": 3, "source": "s"},
            },
        }
        values, provenance = config.strip(tree, "f")
        assert values == {"name": "x", "a": 1.0, "b": {"c": 2.0, "d": {"e": [1, 2]}, "f": 3}}
        assert provenance == {
            "a": "source: a book",
            "b.c": "assumption: chosen",
            "b.d.e": "assumption: chosen",
            "b.f": "source: s",
        }

    @pytest.mark.parametrize(
        ("tree", "key", "told"),
        [
            ({"a": 1}, "a", "a `source` or an `assumption`"),
            ({"a": {"b": 1}}, "a.b", "a `source` or an `assumption`"),
            ({"a": {"value": 1}}, "a", "a `source` or an `assumption`"),
            ({"a": {"value": 1, "source": ""}}, "a.source", "where the value is from"),
            ({"a": {"value": 1, "source": 3}}, "a.source", "where the value is from"),
            ({"a": {"value": 1, "source": "x", "assumption": "y"}}, "a.source", "not both"),
            ({"a": {"value": 1, "unit": "A", "source": "x"}}, "a.unit", "`source` or `assumption`"),
            ({"a": {"value": {"b": 1}, "source": "x"}}, "a", "a number, a text or an array"),
            ({"a": {"name": "not at the top"}}, "a.name", "a `source` or an `assumption`"),
        ],
    )
    def test_a_value_without_origin_is_refused(
        self, tree: config.Tree, key: str, told: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            config.strip(tree, "cell.toml")
        assert caught.value.key == key
        assert told in caught.value.expected


class TestOverride:
    def test_values_are_toml_or_bare_words(self) -> None:
        tree = {"a": {"b": 1.0, "c": "x"}, "d": [1]}
        for text in ("a.b=2.5", "a.c = word", "d=[1, 2]"):
            config.override(tree, text)
        assert tree == {"a": {"b": 2.5, "c": "word"}, "d": [1, 2]}

    def test_origin_becomes_by_hand(self) -> None:
        provenance = {"a": "source: a book"}
        config.override({"a": 1}, "a=2", provenance)
        assert provenance == {"a": "assumption: set by hand"}

    @pytest.mark.parametrize("text", ["a", "=1", "a.x=1", "a.b.c=1", "q=1", ""])
    def test_unknown_keys_and_bad_forms_are_refused(self, text: str) -> None:
        with pytest.raises(ConfigError):
            config.override({"a": {"b": 1.0}}, text)

    def test_a_missing_unit_is_told(self) -> None:
        with pytest.raises(ConfigError, match=r"a unit in the name: `a\.b_ah`"):
            config.override({"a": {"b_ah": 1.0}}, "a.b=3")


class TestResolve:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("car_96s3p", "bench_16s1p"):
            (tmp_path / f"{name}.toml").write_text("")
        return tmp_path

    def test_names_and_paths_are_found(self, folder: Path) -> None:
        assert config.names(folder) == ("bench_16s1p", "car_96s3p")
        expected = folder / "car_96s3p.toml"
        assert config.resolve("car_96s3p", folder, "pack") == expected
        assert config.resolve(str(expected), folder.parent, "pack") == expected
        assert config.resolve("car_96s3p.toml", folder.parent, "pack", folder) == expected

    @pytest.mark.parametrize("name", ["car_96s2p", "car", "CAR_96S3P"])
    def test_close_names_are_suggested(self, folder: Path, name: str) -> None:
        with pytest.raises(
            ConfigError, match=r"did you mean car_96s3p|known: bench_16s1p, car_96s3p"
        ):
            config.resolve(name, folder, "pack")

    @pytest.mark.parametrize(
        "name", ["", "../x", "nowhere/cell.toml", "\0", ".", "a" * 5000, "a/" * 2500]
    )
    def test_nonsense_is_refused(self, folder: Path, name: str) -> None:
        with pytest.raises(ConfigError):
            config.resolve(name, folder, "pack")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6))
def test_rising_accepts_exactly_what_rises(values: list[float]) -> None:
    rises = all(low < high for low, high in pairwise(values))
    if rises:
        config.rising("f", "k", values)
    else:
        with pytest.raises(ConfigError, match="strictly rising"):
            config.rising("f", "k", values)


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 3), st.booleans())
def test_ordered_accepts_exactly_mild_to_severe(
    values: tuple[float, float, float], up: bool
) -> None:
    if list(values) == sorted(values, reverse=not up):
        config.ordered("f", "k", values, up=up)
    else:
        with pytest.raises(ConfigError, match="limits in order"):
            config.ordered("f", "k", values, up=up)
