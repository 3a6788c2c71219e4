"""A file tree as an image archive, made without a container engine: what operators without a registry carry over.

    python -m release.archive ROOT ARCHIVE [--name nodetell:VERSION] [--architecture amd64]

One layer, one configuration, in the layout that both the OCI image specification (index.json) and `docker load`
(manifest.json) describe, so `docker load`, `ctr image import`, `podman load` and `skopeo copy oci-archive:` take it. Of
the same tree it is the same archive, byte for byte.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
from pathlib import Path
from typing import Any

from nodetell import __version__

from release.rootfs import COMMAND, NOBODY, OWNED

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONFIG, _MANIFEST, _INDEX, _LAYER = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
)
ENVIRONMENT = ("PATH=/usr/local/bin", "PYTHONPATH=/opt/nodetell", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1")
"""What the Dockerfile sets, too."""


def layer(root: Path) -> bytes:
    """All files below `root` as a tar, sorted by name, of root but for what nobody may write."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            entry = tar.gettarinfo(path, name)
            entry.uid = entry.gid = NOBODY if name in OWNED else 0
            entry.uname = entry.gname = ""
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return stream.getvalue()


def archive(root: Path, name: str, architecture: str, epoch: int = 0) -> dict[str, bytes]:
    """Files of the image archive by name."""
    plain = layer(root)
    packed = gzip.compress(plain, compresslevel=6, mtime=epoch)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{NOBODY}:{NOBODY}",
            "Env": list(ENVIRONMENT),
            "Entrypoint": [f"/{COMMAND}"],
            "Cmd": ["--help"],
            "Labels": {"org.opencontainers.image.title": "nodetell", "org.opencontainers.image.version": __version__},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
        "history": [{"created_by": "release.archive"}],
    }
    files: dict[str, bytes] = {}
    settings, content = _blob(files, _CONFIG, _json(config)), _blob(files, _LAYER, packed)
    described = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": settings, "layers": [content]}
    manifest = _blob(files, _MANIFEST, _json(described))
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    files["index.json"] = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]})
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    loaded = {"Config": _path(settings["digest"]), "RepoTags": [name], "Layers": [_path(content["digest"])]}
    files["manifest.json"] = _json([loaded])
    return files


def _blob(files: dict[str, bytes], media_type: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    files[_path(digest)] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def write(files: dict[str, bytes], to: Path, epoch: int = 0) -> None:
    """As one tar file; there is none until it is whole."""
    half = to.with_name(f"{to.name}.part")
    with tarfile.open(half, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(files[name]), 0o644, epoch
            tar.addfile(entry, io.BytesIO(files[name]))
    half.replace(to)


def main(arguments: list[str] | None = None) -> int:
    """Write it, and say how large it is."""
    parser = argparse.ArgumentParser(prog="release.archive", description=__doc__)
    parser.add_argument("root", type=Path, help="the file tree, of release.rootfs")
    parser.add_argument("archive", type=Path, help="where to write the image")
    parser.add_argument("--name", default=f"nodetell:{__version__}", help="name and tag (%(default)s)")
    machine = platform.machine()
    parser.add_argument("--architecture", default=_ARCHITECTURES.get(machine, machine), help="(%(default)s)")
    options = parser.parse_args(arguments)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    try:
        write(archive(options.root, options.name, options.architecture, epoch), options.archive, epoch)
    except OSError as error:
        sys.stderr.write(f"release.archive: {error}\n")
        return 1
    sys.stdout.write(f"{options.archive}: {options.archive.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
