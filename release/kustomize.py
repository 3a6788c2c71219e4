"""What kustomize makes of manifests/: `make manifests` writes it to where `nodetell install` reads it.

kustomize itself, as the shared library that the distribution pykustomize carries; its Python part is for newer Pythons
than ours and is not used. Operators who apply manifests/ have kustomize in their kubectl.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = ROOT / "manifests" / "overlays"
RENDERED = ROOT / "cli" / "install" / "rendered"
COMPONENTS = ROOT / "manifests" / "components"
PARTS = ROOT / "cli" / "install" / "components"
"""Objects that a component adds to whatever overlay it goes with: those of its directory `part`."""
LIBRARY = "pykustomize/_lib/linux-amd64/libpykustomize.so"
"""Below the directory that `make manifests` unpacks."""
_HEADER = "# Made of {source} by `make manifests`. Do not edit.\n"


class KustomizeError(Exception):
    """kustomize is not here, or refuses; one line."""


def available(where: Path = ROOT / ".venv" / "kustomize") -> Path | None:
    """The library; None: it was not fetched, or there is none for this machine."""
    library = where / LIBRARY
    return library if library.is_file() else None


def build(directory: Path, library: Path) -> str:
    """The objects that a kustomization stands for, as YAML. Raises KustomizeError."""
    loaded = _loaded(library)
    text = ctypes.c_char_p()
    if loaded.pykustomize_build(str(directory).encode(), b"{}", ctypes.byref(text)) != 0:
        said = loaded.pykustomize_last_error() or b"no reason told"
        raise KustomizeError(" ".join(said.decode("utf-8", "replace").split()))
    return (text.value or b"").decode()


@functools.cache
def _loaded(library: Path) -> ctypes.CDLL:
    try:
        loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise KustomizeError(f"{library}: {error}") from error
    loaded.pykustomize_build.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
    loaded.pykustomize_last_error.restype = ctypes.c_char_p
    return loaded


def rendered(name: str, library: Path) -> str:
    """What is kept of an overlay. Raises KustomizeError."""
    return _made(OVERLAYS / name, library)


def part(name: str, library: Path) -> str:
    """What is kept of a component's own objects. Raises KustomizeError."""
    return _made(COMPONENTS / name / "part", library)


def _made(source: Path, library: Path) -> str:
    return _HEADER.format(source=source.relative_to(ROOT)) + build(source, library)


def overlays() -> list[str]:
    """Names of all."""
    return sorted(path.name for path in OVERLAYS.iterdir() if (path / "kustomization.yaml").is_file())


def parts() -> list[str]:
    """Names of components that have objects of their own."""
    return sorted(path.parents[1].name for path in COMPONENTS.glob("*/part/kustomization.yaml"))


def main() -> int:
    """Write all, and remove what is of no overlay any more."""
    library = available()
    if library is None:
        sys.stderr.write("release.kustomize: no kustomize library for this machine: make manifests\n")
        return 1
    for place, names, make in ((RENDERED, overlays(), rendered), (PARTS, parts(), part)):
        place.mkdir(parents=True, exist_ok=True)
        try:
            for name in names:
                (place / f"{name}.yaml").write_text(make(name, library))
        except KustomizeError as error:
            sys.stderr.write(f"release.kustomize: {error}\n")
            return 1
        for path in place.glob("*.yaml"):
            if path.stem not in names:
                path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
