"""Makes .venv, installs the project editable with extras, and compiles its modules in place.

    python3 tools/bootstrap.py [EXTRA ...]     python3 tools/bootstrap.py --compilers

Standard library only: it runs before anything is installed. What was done is remembered in
.venv/.bootstrap.json by content, so a second call returns at once and a changed C file rebuilds
only the modules made of it. On Debian it installs the two system packages a fresh machine lacks
when it may (as root), and otherwise prints the line to type.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from ctypes.util import find_library
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".bootstrap.json"
COMPILERS = {
    "clang": ["clang"],
    "arm-none-eabi-gcc": ["gcc-arm-none-eabi", "libnewlib-arm-none-eabi"],
    "qemu-system-arm": ["qemu-system-arm"],
    "linux.uml": ["user-mode-linux", "kmod", "iproute2"],  # a kernel with CAN, as a program
    "candump": ["can-utils"],
    "tshark": ["tshark"],
    "Xvfb": ["xvfb"],
    "cppcheck": ["cppcheck"],
    "clang-19": ["clang-19", "llvm-19", "libclang-rt-19-dev"],  # MC/DC; Debian 12 and newer
}
# What Qt needs of the system, offscreen too: library -> package.
WINDOWS = {
    "EGL": "libegl1",
    "GL": "libgl1",
    "xkbcommon": "libxkbcommon0",
    "dbus-1": "libdbus-1-3",
    "fontconfig": "libfontconfig1",
    "glib-2.0": "libglib2.0-0",
    "xcb-cursor": "libxcb-cursor0",
    "xcb-icccm": "libxcb-icccm4",
    "xcb-keysyms": "libxcb-keysyms1",
    "xcb-shape": "libxcb-shape0",
    "xkbcommon-x11": "libxkbcommon-x11-0",
}


def say(text: str) -> None:
    print(f"bootstrap: {text}", flush=True)


def run(*command: object, **environment: str) -> None:
    words = [str(word) for word in command]
    status = subprocess.call(words, cwd=ROOT, env={**os.environ, **environment})
    if status:
        say(f"this failed with status {status}: {shlex.join(words)}")
        raise SystemExit(1)


def apt_install(packages: list[str], reason: str) -> None:
    """Install Debian packages as root; for anybody else, print what to type and stop."""
    line = "apt-get install -y --no-install-recommends " + " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"{reason}. On Debian or Ubuntu type:\n\n    sudo {line}\n\nand run this again.")
        raise SystemExit(1)
    say(f"{reason}; {line}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", **quiet)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, **quiet)


def system_packages() -> list[str]:
    """Debian packages without which neither the environment nor the modules can be made."""
    missing = []
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        missing.append("python3-dev")
    compiler = shlex.split(os.environ.get("CC") or "gcc")[0]
    if shutil.which(compiler) is None:
        missing += ["gcc", "libc6-dev"] if compiler == "gcc" else [compiler]
    return missing


def digest(paths: Iterable[Path], *words: str) -> str:
    total = hashlib.sha256("\0".join(words).encode())
    for path in sorted(paths):
        total.update(f"{path.relative_to(ROOT)}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def sources() -> list[Path]:
    kinds = {".c", ".h", ".pyx", ".pxd", ".pxi"}
    found = [path for path in (ROOT / "ext").rglob("*") if path.suffix in kinds]
    return [*found, ROOT / "setup.py"]


def built() -> set[str]:
    return {path.name.split(".")[0] for path in (ROOT / "src" / "bms").glob("_*.so")}


def environment_works() -> bool:
    """False also for a .venv that was moved or whose interpreter is gone."""
    probe = [str(PYTHON), "-c", "import pip, sys; print(sys.prefix)"]
    try:
        found = subprocess.run(probe, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return found.returncode == 0 and Path(found.stdout.strip()).resolve() == VENV.resolve()


def install(done: dict[str, str], extras: list[str]) -> None:
    """Dependencies and the `bms` command. An editable install compiles too."""
    pip = (PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    import tomllib  # absent before 3.11, which bootstrap() has refused by now

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    say("installing what " + " and ".join(["the core", *extras]) + " needs")
    run(*pip, *project["build-system"]["requires"], "wheel")
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    say("compiling the modules and installing the bms command")
    run(*pip, "--no-build-isolation", "-e", target)
    done["extras"] = ",".join(extras)


def bootstrap(extras: list[str]) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (this file must run, to say so)
        say(f"needs Python 3.11 or newer, not {sys.version.split()[0]}; make PYTHON=python3.11")
        raise SystemExit(1)
    if os.environ.get("BMS_CC"):
        os.environ["CC"] = os.environ["BMS_CC"]
    missing = system_packages()
    if missing:
        apt_install(missing, "this machine lacks " + ", ".join(missing))
    if not environment_works():
        say(f"making {VENV.name}")
        run(sys.executable, "-m", "venv", "--clear", VENV)
    try:
        done = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        done = {}

    toolchain = digest([], os.environ.get("CC", ""), os.environ.get("BMS_CFLAGS", ""))
    project = digest([ROOT / "pyproject.toml"])
    code = digest(sources())
    wanted = sorted({*extras, *filter(None, done.get("extras", "").split(","))})
    complete = built() >= {path.stem for path in (ROOT / "ext" / "bms").glob("_*.pyx")}
    if done.get("toolchain", toolchain) != toolchain or not complete:
        shutil.rmtree(ROOT / "build", ignore_errors=True)
        for path in (ROOT / "src" / "bms").glob("_*.so"):
            path.unlink()
        done.pop("code", None)
    if done.get("project") != project or done.get("extras") != ",".join(wanted):
        STAMP.unlink(missing_ok=True)
        install(done, wanted)
    elif done.get("code") != code:
        STAMP.unlink(missing_ok=True)
        say("compiling what changed")
        run(PYTHON, "setup.py", "-q", "build_ext", "--inplace")
    else:
        return
    done.update(project=project, code=code, toolchain=toolchain)
    STAMP.write_text(json.dumps(done, indent=1) + "\n", "utf-8")


def compilers() -> None:
    missing = [
        package for tool, names in COMPILERS.items() if not shutil.which(tool) for package in names
    ]
    missing += [package for library, package in WINDOWS.items() if not find_library(library)]
    if not Path("/usr/share/fonts/truetype/dejavu").is_dir():
        missing.append("fonts-dejavu-core")  # without a font every letter is an empty box
    if missing:
        apt_install(missing, "for tests that compare compilers, CAN tools, or open windows")


if __name__ == "__main__":
    if sys.argv[1:] == ["--compilers"]:
        compilers()
    else:
        bootstrap(sys.argv[1:])
