"""Any shared library that fits ecu.h can take our firmware's place; what does not is refused."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from bms import _firmware
from bms.errors import ConfigError
from bms.firmware import api_address, library

CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def compiled(project_dir: Path, folder: Path, edit: tuple[str, str] = ("", "")) -> Path:
    if not CC:
        pytest.skip("needs a C compiler")
    source = (project_dir / "examples/empty_firmware/empty.c").read_text().replace(*edit)
    (folder / "firmware.c").write_text(source)
    made = folder / "firmware.so"
    include = project_dir / "ext/firmware"
    subprocess.run(
        [CC, "-shared", "-fPIC", f"-I{include}", folder / "firmware.c", "-o", made], check=True
    )
    return made


def test_the_empty_firmware_loads_and_its_table_calls_it(project_dir: Path, tmp_path: Path) -> None:
    loaded = library.load(compiled(project_dir, tmp_path))
    assert loaded.version == "empty 1" and loaded.size == 8 and loaded.probes() == []
    table = (ctypes.c_void_p * 6).from_address(loaded.address)
    assert ctypes.CFUNCTYPE(ctypes.c_uint32)(table[0])() == 1


def test_our_own_table_has_the_same_form() -> None:
    table = (ctypes.c_void_p * 6).from_address(api_address())
    assert ctypes.CFUNCTYPE(ctypes.c_uint32)(table[0])() == 1
    assert ctypes.CFUNCTYPE(ctypes.c_char_p)(table[1])().decode() == _firmware.version()
    names = [probe.name for probe in _firmware.probes()]
    assert len(names) == len(set(names)) and "ekf_updates" in names


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (("return ECU_ABI;", "return 99;"), "ecu_abi"),
        (("void ecu_step(", "void another_name("), "ecu_step"),
        (("return sizeof(struct ecu);", "return 0;"), "ecu_size"),
    ],
)
def test_what_does_not_fit_is_refused(
    project_dir: Path, tmp_path: Path, edit: tuple[str, str], key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        library.load(compiled(project_dir, tmp_path, edit))
    assert caught.value.key == key


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("hello")
    for path in (tmp_path / "text.so", tmp_path / "missing.so"):
        with pytest.raises(ConfigError):
            library.load(path)
