"""The Helm chart as one archive: `make chart` writes dist/nodetell-VERSION.tgz, for `helm install` without a registry.

Packed here and not by Helm, which writes down when it did: of the same chart it is the same archive, byte for byte, and
nothing that an editor left beside it is in it.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path

from nodetell import __version__

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "manifests" / "helm" / "nodetell"
TEMPLATES = ("templates/[!.]*.yaml", "templates/[!.]*.tpl", "templates/NOTES.txt")
FILES = ("Chart.yaml", "values.yaml", "values.schema.json", ".helmignore", *TEMPLATES)
"""Patterns of what belongs to it."""
ARCHIVE = f"nodetell-{__version__}.tgz"


def packed(chart: Path = CHART, epoch: int = 0) -> bytes:
    """The archive of a chart, its files dated `epoch` (seconds). Raises OSError."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in (found for pattern in FILES for found in sorted(chart.glob(pattern))):
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{chart.name}/{path.relative_to(chart).as_posix()}")
            entry.size, entry.mode, entry.mtime = len(content), 0o644, epoch
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), compresslevel=9, mtime=epoch)


def main() -> int:
    """Write it, and say where."""
    target = ROOT / "dist" / ARCHIVE
    try:
        content = packed(epoch=int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    except OSError as error:
        sys.stderr.write(f"release.chart: {error}\n")
        return 1
    sys.stdout.write(f"{target.relative_to(ROOT)}: {len(content) / 1e3:.1f} kB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
