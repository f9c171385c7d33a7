"""The C of chips and sensors under both compilers: no warning, the same bytes from every build."""

import shutil
import subprocess

import pytest

STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wswitch-enum", "-Werror"]
BASE = ["-std=c99", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-funsigned-char"]
BUILDS = {
    "plain": ["-O0"],
    "optimised": ["-O3"],
    "portable": ["-O3", "-DCHIPS_PORTABLE"],
}
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
SOURCES = ("chips", "line", "frame", "registers", "adc", "balance", "faults", "ivt", "imd")


def includes(project_dir):
    return [f"-I{project_dir / 'ext' / part}" for part in ("", "common", "firmware")]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("extra", ["-DCHIPS_VECTOR", "-DCHIPS_PORTABLE"])
def test_source_compiles_without_a_warning(project_dir, tmp_path, compiler, source, extra):
    path = project_dir / "ext" / "chips" / f"{source}.c"
    command = [compiler, *BASE, *STRICT, "-O2", extra, *includes(project_dir), "-c", str(path)]
    subprocess.run([*command, "-o", str(tmp_path / "out.o")], check=True, cwd=tmp_path)


def test_every_source_is_in_the_list(project_dir):
    assert {path.stem for path in (project_dir / "ext" / "chips").glob("*.c")} == set(SOURCES)


def bits(project_dir, tmp_path, compiler, options):
    """What the program built like this prints: hash, bytes sent, conversions."""
    files = [str(path) for path in (project_dir / "ext" / "chips").glob("*.c")]
    files.append(str(project_dir / "tests" / "c" / "chips_bits.c"))
    out = str(tmp_path / "bits")
    command = [compiler, *BASE, *options, *includes(project_dir), *files, "-o", out]
    subprocess.run(command, check=True, cwd=tmp_path)
    return subprocess.run([out], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(not COMPILERS, reason="needs a compiler: apt-get install gcc clang")
@pytest.mark.slow("compiles the chips in four ways")
def test_every_build_says_the_same_bytes(project_dir, tmp_path):
    said = {
        (compiler, name): bits(project_dir, tmp_path, compiler, options)
        for compiler in COMPILERS
        for name, options in BUILDS.items()
    }
    assert len(set(said.values())) == 1, said
    _, sent, conversions = said.popitem()[1].split()
    assert int(conversions) == 500 * 6 * 32 and int(sent) == 500 * 6 * (38 + 86)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc: apt-get install gcc")
def test_no_undefined_behaviour_and_no_stray_access(project_dir, tmp_path):
    options = ["-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    assert bits(project_dir, tmp_path, "gcc", options)
