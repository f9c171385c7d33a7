"""--request-key of `bms ecu` and `bms emulate`: digits or a file, never shown."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bms.cli import _key, ecu, main
from bms.errors import ConfigError
from bms.firmware import timing
from bms.protocols.request import TEST_KEY
from bms.realtime.emulate import Emulation

DIGITS = "00112233445566778899aabbccddeeff"
KEY = bytes.fromhex(DIGITS)


def configuration(*words: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    ecu.arguments(parser)
    args = parser.parse_args(["--afe", "none", "--can", "none", *words])
    return dict(timing.decode(ecu._config(args)))


def test_digits_and_a_file_give_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{DIGITS.upper()}\n")
    assert _key.of(DIGITS) == _key.of(str(tmp_path / "key")) == KEY
    assert _key.of(None) == TEST_KEY


def test_the_control_unit_gets_the_key_and_warns_of_the_test_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert bytes(configuration("--request-key", DIGITS)["request_key"]) == KEY  # type: ignore
    _key.warn(DIGITS)
    assert capsys.readouterr().err == ""
    assert bytes(configuration()["request_key"]) == TEST_KEY  # type: ignore
    _key.warn(None)
    assert "test key" in capsys.readouterr().err


def test_the_vehicle_of_the_emulation_gets_the_key() -> None:
    made = Emulation("bench_16s1p", request_key=KEY)
    assert bytes(made.live.parts["vehicle"]["request_key"]) == KEY


@pytest.mark.parametrize("text", ["", "0011", "zz" * 16, DIGITS + "00", "/no/such/file"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as told:
        _key.of(text)
    assert "32 hexadecimal digits" in str(told.value) and (not text or text not in str(told.value))


def test_a_key_that_is_none_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "bench_16s1p", "--request-key", "secret"]) == 2
    said = capsys.readouterr().err
    assert "--request-key" in said and "secret" not in said
