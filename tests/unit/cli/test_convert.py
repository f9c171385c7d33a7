"""`bms convert` says what it wrote, and what it cannot in one line with exit code 2."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bms.cli import main
from bms.recorder import Recording, Signal, Writer


@pytest.fixture
def path(tmp_path):
    value = np.zeros(1)
    signal = Signal("est_soc_frac", "1", "estimated", "pack", "charge", value)
    with Writer(tmp_path / "run.arrow", [signal], {}, frames=True) as writer:
        for k in range(1, 300):
            value[0] = k / 300
            writer.low_level.frame(10_000 * k - 5, 0, 1, 0x100 + k % 3, 0, bytes([k % 256]))
            writer.low_level.tick(10_000 * k)
        writer.close({})
    return tmp_path / "run.arrow"


def test_out_and_back(path, tmp_path, capsys):
    log, back = tmp_path / "a.log", tmp_path / "back.arrow"
    assert main(["convert", str(path), str(log)]) == 0
    assert capsys.readouterr().out == f"{log}: 299 frames\n"
    assert main(["convert", str(log), str(back), "--dbc", "bms"]) == 0
    with Recording.open(path) as before, Recording.open(back) as after:
        assert list(before.frames) == list(after.frames)
    assert (
        main(["convert", str(path), str(tmp_path / "x"), "--to", "csv", "--signals", "est_*"]) == 0
    )
    assert (tmp_path / "x").read_text().startswith("time_s,est_soc_frac\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run.arrow", "a.xyz"], "ends in one of"),
        (["run.arrow", "a.csv", "--to", "xls"], "one of arrow, asc"),
        (["run.arrow", "a.csv", "--signals", "est_sok_frac"], "such as est_soc_frac"),
        (["run.arrow", "run.arrow/a.csv"], "can be written"),
        (["run.arrow", "run.arrow", "--to", "csv"], "another file"),
        (["none.arrow", "a.csv"], "a recording or a bus log"),
        (["run.arrow", "a.mf4", "--dbc", "none.dbc"], "a file, or bms for our own"),
        (["run.arrow", "a.arrow"], "a bus log"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    path, tmp_path, monkeypatch, capsys, words, said
):
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    assert main(["convert", *words]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and not told.out
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.arrow"]


def test_a_damaged_recording_is_exit_code_4(path, tmp_path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert main(["convert", str(path), str(tmp_path / "a.csv")]) in (0, 4)
    path.write_bytes(b"nothing")
    assert main(["convert", str(path), str(tmp_path / "b.csv")]) == 4
    assert not (tmp_path / "b.csv").exists()


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom bms.cli import main\ntry:\n    main(['convert', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'can', 'asammdf', 'pyarrow', 'numpy', 'cantools'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.endswith("[]\n")
