"""The licence of every locked distribution: `make licences` writes docs/licences.md.

What a distribution says of itself comes in three forms, of which the older two are free text; the table below turns
those into SPDX identifiers. A licence that nobody has looked at is an error, not a row.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from release import locks

PAGE = locks.ROOT / "docs" / "licences.md"

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "LicenseRef-Public-Domain",
    }
)
"""What Nodetell, which is Apache-2.0, may be delivered or developed with. Of alternatives (OR) one has to be here."""

_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "PSFL": "PSF-2.0",
    "OSI Approved :: Apache Software License": "Apache-2.0",
    "OSI Approved :: ISC License (ISCL)": "ISC",
    "OSI Approved :: MIT License": "MIT",
    "OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
"""What older distributions write, by the SPDX identifier that it means."""

READ_BY_HAND = {
    "atheris": "Apache-2.0",
    "axe-playwright-python": "MIT AND MPL-2.0",
    "colorama": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",
    "kubernetes-validate": "Apache-2.0",
    "pyyaml-ft": "MIT",
    "win-inet-pton": "LicenseRef-Public-Domain",
}
"""Those that say nothing, or that are for other platforms only: read in the licence file of the wheel."""


def expression(stated: str, free_text: str, classifiers: list[str]) -> str:
    """SPDX expression of what a distribution says; empty: it says nothing that is known here."""
    if stated:
        return stated
    candidates = [free_text.strip(), *classifiers]
    for text in candidates:
        known = _SPDX.get(text) or (text if text in ALLOWED else "")
        if known:
            return known
    return ""


def installed(name: str) -> tuple[str, str] | None:
    """Version and licence of what is installed here; None: it is not."""
    try:
        about = metadata.distribution(name).metadata
    except metadata.PackageNotFoundError:
        return None
    said = {name: "".join(about.get_all(name, [])) for name in ("License-Expression", "License", "Version")}
    kinds = [entry.removeprefix("License :: ") for entry in about.get_all("Classifier", []) if "License ::" in entry]
    return said["Version"], expression(said["License-Expression"], said["License"], kinds)


def licence(name: str) -> str:
    """SPDX expression of a locked distribution; empty: nobody knows."""
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    found = installed(name)
    return found[1] if found else ""


def allowed(spdx: str) -> bool:
    """True where one of the alternatives is on the list; an expression with AND needs all of its parts."""
    return any(all(part.strip(" ()") in ALLOWED for part in way.split(" AND ")) for way in spdx.split(" OR "))


def rows() -> list[tuple[str, str, str, str]]:
    """Name, versions, licence and roles of every locked distribution, by name."""
    versions: dict[str, list[str]] = {}
    used: dict[str, list[str]] = {}
    for role in locks.roles():
        for pinned in locks.read(role):
            if pinned.version not in versions.setdefault(pinned.name, []):
                versions[pinned.name].append(pinned.version)
            if role not in used.setdefault(pinned.name, []):
                used[pinned.name].append(role)
    return [(name, ", ".join(versions[name]), licence(name), ", ".join(used[name])) for name in sorted(versions)]


def page(table: list[tuple[str, str, str, str]]) -> str:
    """The document."""
    shipped = {name for role in locks.SHIPPED for name in (pinned.name for pinned in locks.read(role))}
    lines = [
        "# Licences",
        "",
        "Every distribution that a lock file names, with its SPDX licence as the distribution states it. Made by",
        "`make licences`; what is allowed is `ALLOWED` in `release/licences.py`. Nodetell itself is Apache-2.0.",
    ]
    for heading, chosen in (
        ("What runs", [row for row in table if row[0] in shipped]),
        ("What only developers use", [row for row in table if row[0] not in shipped]),
    ):
        lines += ["", f"## {heading}", "", "| distribution | version | licence | locks |", "| --- | --- | --- | --- |"]
        lines += [f"| `{name}` | {version} | {spdx} | {used} |" for name, version, spdx, used in chosen]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page; 1 if a licence is unknown or not allowed."""
    table = rows()
    wrong = [row for row in table if not row[2] or not allowed(row[2])]
    for name, version, spdx, _ in wrong:
        print(f"licences: {name} {version}: {spdx or 'unknown, and not installed here or not stated'}", file=sys.stderr)
    if not wrong:
        Path(PAGE).write_text(page(table))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
