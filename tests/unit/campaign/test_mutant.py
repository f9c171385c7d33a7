"""Patches: found where the file has moved, refused where they do not fit, built and taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from bms.campaign import hunt, mutant
from bms.errors import ConfigError

TEXT = "one\ntwo words\nthree\nfour\nfive words\n"


def hunks(tmp_path: Path, body: str) -> list[mutant.Hunk]:
    file = tmp_path / "x.diff"
    file.write_text(f"--- a/ext/firmware/x.c\n+++ b/ext/firmware/x.c\n{body}")
    (found,) = mutant.read(file).values()
    return found


def test_a_hunk_is_found_where_the_file_has_grown(tmp_path: Path) -> None:
    change = hunks(tmp_path, "@@ -3,1 +3,1 @@\n-three\n+THREE\n")
    assert mutant.apply("new\n" * 40 + TEXT, change) == "new\n" * 40 + TEXT.replace(
        "three", "THREE"
    )


def test_a_hunk_with_stale_context_is_found_by_what_it_removes(tmp_path: Path) -> None:
    change = hunks(tmp_path, "@@ -2,3 +2,3 @@\n gone\n-three\n+THREE\n gone too\n")
    assert mutant.apply(TEXT, change) == TEXT.replace("three", "THREE")


def test_white_space_does_not_matter(tmp_path: Path) -> None:
    change = hunks(tmp_path, "@@ -2,1 +2,1 @@\n-two   words\n+2\n")
    assert "2\n" in mutant.apply(TEXT, change)


def test_two_hunks_keep_their_places(tmp_path: Path) -> None:
    change = hunks(tmp_path, "@@ -1,1 +1,2 @@\n one\n+more\n@@ -4,1 +5,0 @@\n-four\n")
    assert mutant.apply(TEXT, change) == "one\nmore\ntwo words\nthree\nfive words\n"


@pytest.mark.parametrize(
    "body", ["@@ -1,1 +1,1 @@\n-nothing like it\n+x\n", "@@ -1,2 +1,3 @@\n lost line\n {\n+x\n"]
)
def test_what_fits_nowhere_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(ConfigError):
        mutant.apply(TEXT + "{\n", hunks(tmp_path, body))


@pytest.mark.parametrize(
    "text",  # each is no patch for another reason
    ["", "no diff", "+++ b/etc/passwd\n@@ -1 +1 @@\n-x\n+y\n", "@@ -1 +1 @@\n-x\n+y\n",
     "+++ b/ext/firmware/../../x.c\n@@ -1 +1 @@\n-x\n+y\n",
     "+++ b/ext/firmware/x.c\n@@ -1 +1 @@\n x\n"],
)  # fmt: skip
def test_what_is_no_patch_of_the_firmware_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.diff"
    file.write_text(text)
    with pytest.raises(ConfigError):
        mutant.read(file)


def test_at_least_24_bugs_are_planted_and_each_says_what_it_is() -> None:
    rows = hunt.planted()
    assert len(rows) >= 25 and rows[0].stem == "canary"
    assert all(len(hunt.about(path)) > 20 for path in rows)


@pytest.mark.slow("builds the firmware")
@pytest.mark.parametrize("path", hunt.planted(), ids=lambda path: path.stem)
def test_a_planted_bug_still_applies_and_builds(path: Path) -> None:
    with mutant.built(path) as library:
        assert library.stat().st_size > 10_000
        folder = library.parent
    assert not folder.exists()


def test_the_canary_is_found_at_once() -> None:
    find = hunt.hunt(hunt.PLANTED / "canary.diff", seeds=3)
    assert find.found and find.seeds == 1
