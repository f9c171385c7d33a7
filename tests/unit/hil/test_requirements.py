"""Requirements belong to tests; rig files and files of requirements are refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from bms_hil import requirements, rig

from bms.errors import ConfigError


def test_every_shipped_requirement_says_where_it_is_from() -> None:
    for one in requirements.load().values():
        assert one.text.endswith(".") and one.source, one.id


def test_gaps_name_requirements_without_tests_and_tests_without_requirements() -> None:
    told = requirements.gaps(["A-1", "A-2"], {"t1": ("A-1",), "t2": (), "t3": ("A-9",)})
    assert told == [
        "A-2: no test verifies it",
        "t2: verifies no requirement",
        "A-9: a test names it, but it is not written",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('title = "x"\n[[requirement]]\nid = "A"\ntext = "t"\n', "source"),
        ('title = "x"\n[[requirement]]\nid = "A"\ntext = "t"\nsource = "s"\nwhy = 1\n', "why"),
        ('[[requirement]]\nid = "A"\ntext = "t"\nsource = "s"\n', "title"),
        ("title =", "TOML"),
    ],
)
def test_a_wrong_file_of_requirements_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        requirements.load(tmp_path)


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    text = 'title = "x"\n[[requirement]]\nid = "A"\ntext = "t"\nsource = "s"\n'
    (tmp_path / "x.toml").write_text(text)
    (tmp_path / "y.toml").write_text(text)
    with pytest.raises(ConfigError, match="used once"):
        requirements.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('kind = "nothing"\ntitle = "x"\npack = "bench_16s1p"\n', "one of"),
        ('kind = "sil"\ntitle = "x"\n', "pack"),
        ('kind = "sil"\ntitle = "x"\npack = "bench_16s1p"\ncolour = 1\n', "colour"),
        ('kind = "sil"\ntitle = "x"\npack = "bench_16s1p"\n[start]\nsoc_frac = "full"\n', "soc"),
    ],
)
def test_a_wrong_rig_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        rig.load(str(path))


def test_an_unknown_rig_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="realtime, sil"):
        rig.load("mars")


def test_options_a_rig_does_not_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text('kind = "sil"\ntitle = "x"\npack = "bench_16s1p"\n[options]\nspeed = 2\n')
    with pytest.raises(ConfigError, match="speed"):
        rig.open_rig(rig.load(str(path)))
