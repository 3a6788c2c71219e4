"""The file tree of the image, made without a container engine: a Python, what it needs of the system, and nodetell.

    python -m release.rootfs DESTINATION --packages DIRECTORY [--python EXECUTABLE]

The Dockerfile's build stage runs this very script, and so does `make image-rootfs`, so what the tests start is what the
image holds. There is no shell in it, no compiler and no package manager: one interpreter, the part of its standard
library that a server needs, the shared libraries that the loader says these need, and the packages of the lock file.

Given the same Python and packages, the tree is the same byte for byte; times of files are SOURCE_DATE_EPOCH, or 0.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

APPLICATION = Path("opt/nodetell")
"""Where nodetell and what it needs are, below the root."""
COMMAND = Path("usr/local/bin/nodetell")
INTERPRETER = Path("usr/local/bin/python3")
NOBODY = 65_534

UNUSED = frozenset(
    {
        *("__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo"),
        *("turtle.py", "ensurepip", "venv", "lib2to3", "pydoc_data", "pydoc.py", "distutils", "LICENSE.txt"),
        *("_pyrepl", "curses", "dbm", "xmlrpc"),
    }
)
"""Parts of the standard library that nothing in the image imports; compilers of packages are among them."""
UNUSED_EXTENSION = re.compile(r"(_test\w*|_tkinter|_curses\w*|readline|_dbm|_gdbm|nis|ossaudiodev|xx\w*|_xx\w*)\.")
NO_PACKAGE = re.compile(r"bin|include|share|.*\.(pth|egg-link)|(pip|setuptools|wheel)(-.*)?")
"""In a directory of packages: what is none."""

DIRECTORIES = ("dev", "etc", "host/proc", "host/sys", "proc", "run/nodetell", "sys", "tmp", "var/lib/nodetell")
"""What is mounted over at run time; with a read-only root nothing can make them then."""

OWNED = ("run/nodetell", "var/lib/nodetell")
"""Those that nobody's user owns, so that a role may write there where nothing is mounted."""

FILES = {
    "etc/passwd": f"root:x:0:0::/:\nnobody:x:{NOBODY}:{NOBODY}::/:\n",
    "etc/group": f"root:x:0:\nnogroup:x:{NOBODY}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": "",
    "etc/os-release": 'ID=nodetell\nNAME="nodetell image"\nPRETTY_NAME="nodetell image"\n',
}
"""hosts and resolv.conf are what a runtime mounts its own over."""


class RootfsError(Exception):
    """The tree can't be made; one line."""


def build(root: Path, packages: Path, python: Path, epoch: int = 0) -> None:
    """Make the tree in `root`, an empty or absent directory, of the Python that `python` runs. Raises RootfsError."""
    if root.exists() and any(root.iterdir()):
        raise RootfsError(f"{root}: is not empty")
    if not (packages / "cli" / "main.py").is_file():
        raise RootfsError(f"{packages}: nodetell is not installed there")
    made = _look_at(python)
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="ascii")
    _copy_python(made, root)
    _copy_packages(packages, root / APPLICATION)
    _write_command(made, root)
    for library in sorted(_libraries([made.executable, *_objects(root)])):
        _copy_library(library, root)
    _strip(root)
    _compile(made, root)
    _settle(root, epoch)


@dataclass(frozen=True, slots=True)
class _Python:
    """An installed Python, no virtual environment of it."""

    executable: Path
    library: Path
    """Its standard library."""
    version: str
    """"3.13"."""


def _look_at(executable: Path) -> _Python:
    script = (
        "import os, sys; print(os.path.realpath(sys._base_executable)); print(os.path.dirname(os.__file__));"
        "print('%d.%d' % sys.version_info[:2])"
    )
    try:
        told = subprocess.run([executable, "-I", "-c", script], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RootfsError(f"{executable}: does not run: {error}") from error
    base, library, version = told.stdout.splitlines()
    return _Python(Path(base), Path(library), version)


def _copy_python(made: _Python, root: Path) -> None:
    interpreter = root / INTERPRETER
    interpreter.parent.mkdir(parents=True)
    shutil.copyfile(made.executable, interpreter)
    interpreter.chmod(0o755)
    library = root / "usr/local/lib" / f"python{made.version}"

    def unused(directory: str, names: list[str]) -> set[str]:
        found = {name for name in names if name in UNUSED or name.startswith("config-")}
        if Path(directory).name == "lib-dynload":
            found |= {name for name in names if UNUSED_EXTENSION.match(name)}
        return found

    shutil.copytree(made.library, library, ignore=unused)


def _copy_packages(packages: Path, to: Path) -> None:
    def unused(directory: str, names: list[str]) -> set[str]:
        found = {name for name in names if name == "__pycache__" or name.endswith((".pyi", ".pyx", ".pxd", ".c", ".h"))}
        if Path(directory) == packages:
            found |= {name for name in names if NO_PACKAGE.fullmatch(name)}
        return found

    shutil.copytree(packages, to, ignore=unused)


def _write_command(made: _Python, root: Path) -> None:
    """A script that needs no shell: the kernel starts the interpreter. Children of `nodetell up` find the packages by
    PYTHONPATH, which the image sets."""
    command = root / COMMAND
    command.write_text(
        f"#!/{INTERPRETER} -Ps\n"
        "import sys\n\n"
        f'if "/{APPLICATION}" not in sys.path:\n'
        f'    sys.path.insert(0, "/{APPLICATION}")\n'
        "from cli.main import main\n\n"
        "sys.exit(main())\n",
        encoding="ascii",
    )
    command.chmod(0o755)
    (root / "usr/local/bin" / f"python{made.version}").symlink_to(INTERPRETER.name)


def _objects(root: Path) -> Iterator[Path]:
    """Shared objects below it."""
    return (path for path in sorted(root.rglob("*.so*")) if path.is_file())


def _libraries(objects: Iterable[Path]) -> set[Path]:
    """What the loader finds for them, itself among it. Raises RootfsError where something is not there."""
    found: set[Path] = set()
    for path in objects:
        answer = subprocess.run(  # a file of our own tree
            ["ldd", str(path)],  # noqa: S607  # the system's
            check=False,
            capture_output=True,
            text=True,
        )
        for line in answer.stdout.splitlines():
            name, _, where = line.strip().partition(" => ")
            if where.startswith("not found"):
                raise RootfsError(f"{path.name}: needs {name}, which is not here")
            at = (where or name).split(" ")[0]
            if at.startswith("/"):
                found.add(Path(at))
    return found


def _copy_library(library: Path, root: Path) -> None:
    """Where the loader looks for it, under the name that it is asked for by.

    The loader itself keeps its place, which is in the interpreter's head. What was found beside the interpreter or in a
    place of its own goes where the loader looks without being told.
    """
    if library.is_relative_to(root):
        return
    at = root / str(library).lstrip("/") if _is_system(library) else root / "usr/lib" / library.name
    at.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(library.resolve(), at)
    at.chmod(0o755)


def _is_system(library: Path) -> bool:
    return bool(re.match(r"/(usr/)?lib(32|64)?(/[\w-]+-linux-gnu\w*)?/[^/]+$", str(library)))


def _strip(root: Path) -> None:
    """Without symbols that only a debugger reads: Debian's and the official image's Python have none anyway, of the
    packages' extension modules some have."""
    strip = shutil.which("strip")
    if strip is not None:
        subprocess.run([strip, "--strip-unneeded", root / INTERPRETER, *_objects(root)], check=True)


def _compile(made: _Python, root: Path) -> None:
    """Nothing can be compiled at run time, on a read-only root; and nobody changes a file that was."""
    script = (
        "import sys; from release.rootfs import compile_tree; sys.exit(not compile_tree(sys.argv[1], *sys.argv[2:]))"
    )
    places = [f"usr/local/lib/python{made.version}", str(APPLICATION)]
    here = Path(__file__).resolve().parents[1]
    subprocess.run(  # the Python that was named
        [made.executable, "-c", script, str(root), *places], check=True, cwd=here, env={"PATH": os.environ["PATH"]}
    )


def compile_tree(root: str, *places: str) -> bool:
    """Compile what is below the places, by the Python that runs this; False: something can't be."""
    done = True
    for place in places:
        done &= bool(
            compileall.compile_dir(
                Path(root, place),
                stripdir=root,
                prependdir="/",
                quiet=1,
                force=True,
                rx=re.compile(r"/(lib2to3|bad_coding|badsyntax)"),
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                workers=1,
            )
        )
    return done


def _settle(root: Path, epoch: int) -> None:
    """Whoever made it on whatever day: the same modes and times."""
    (root / "tmp").chmod(0o1777)
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink() and path.name != "tmp":
            executable = path.is_dir() or bool(path.stat().st_mode & 0o100)
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    if os.geteuid() == 0:
        for name in OWNED:
            os.chown(root / name, NOBODY, NOBODY)


def size_of(root: Path) -> int:
    """Bytes of all files below it."""
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def main(arguments: list[str] | None = None) -> int:
    """Make it, and say how large it is."""
    parser = argparse.ArgumentParser(prog="release.rootfs", description=__doc__)
    parser.add_argument("destination", type=Path, help="an empty or absent directory")
    parser.add_argument("--packages", type=Path, required=True, help="where nodetell and its lock file are installed")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python to take")
    options = parser.parse_args(arguments)
    try:
        build(options.destination, options.packages, options.python, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    except (RootfsError, OSError) as error:
        sys.stderr.write(f"release.rootfs: {error}\n")
        return 1
    sys.stdout.write(f"{options.destination}: {size_of(options.destination) / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
