"""Builds the compiled modules: every ext/bms/_NAME.pyx becomes bms._NAME.

A module names the C files it is made of in its own first lines (`# distutils: sources = ...`), so
there is no second list here. BMS_CC (or CC) chooses the compiler; BMS_CFLAGS adds compiler options
(sanitizers, coverage, -O0); BMS_ONLY="_plant _chips" builds only those modules.
"""

import copy
import os
import subprocess
import sysconfig
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Strict floating point: no contraction, no reassociation, NaN kept. Elementwise operations then
# give the same bits at every vector width and with every compiler: traces can be reproduced.
FLAGS = [
    "-std=c99", "-D_DEFAULT_SOURCE", "-O3", "-ffp-contract=off", "-fno-math-errno",
    "-fno-trapping-math", "-funsigned-char", "-fvisibility=hidden",
]  # fmt: skip
OFTEN = ("_loop", "_firmware")  # every simulated millisecond runs through them

if os.environ.get("BMS_CC"):
    os.environ["CC"] = os.environ["BMS_CC"]
only = os.environ.get("BMS_ONLY", "").split()
extra = os.environ.get("BMS_CFLAGS", "").split()
modules = sorted(p for p in Path("ext/bms").glob("_*.pyx") if not only or p.stem in only)
headers = [str(p) for p in Path("ext").rglob("*") if p.suffix in (".h", ".pxi", ".pxd")]
places = ["ext", "ext/common", "ext/firmware", "ext/firmware/generated", numpy.get_include()]
directives = {"boundscheck": False, "wraparound": False, "cdivision": True, "embedsignature": True}


def whole(module: str) -> list[str]:
    """Options of gcc that optimise all files of such a module together, without extra ones."""
    if extra or module not in OFTEN:
        return []
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    try:
        asked = subprocess.run([*compiler.split(), "--version"], capture_output=True, text=True)
    except OSError:
        return []  # the build itself will say so
    return ["-flto=auto"] if "Free Software Foundation" in asked.stdout else []


class BuildEachApart(build_ext):
    """Modules share C files; with object files of their own they compile side by side."""

    def build_extension(self, ext):
        apart = copy.copy(self)
        apart.build_temp = str(Path(self.build_temp, ext.name))
        super(BuildEachApart, apart).build_extension(ext)


extensions = [
    Extension(
        f"bms.{path.stem}",
        [str(path)],
        include_dirs=places,
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS + extra + whole(path.stem),
        extra_link_args=[flag for flag in extra if "sanitize" in flag or "coverage" in flag]
        + (FLAGS + whole(path.stem) if whole(path.stem) else []),
        depends=headers,
    )
    for path in modules
]

setup(
    cmdclass={"build_ext": BuildEachApart},
    options={"build_ext": {"parallel": min(4, os.cpu_count() or 1)}},
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        language_level=3,
        compiler_directives=directives,
    ),
)
