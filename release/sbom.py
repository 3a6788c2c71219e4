"""Bill of materials of each role, from its lock: `make sbom` writes dist/sbom/ROLE.cdx.json (CycloneDX, JSON).

cyclonedx-bom takes the lock apart, with the hashes of the files; the licences are added, which a lock has not. The same
locks make the same bytes: no serial number, no time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from release import licences, locks

PLACE = locks.ROOT / "dist" / "sbom"


def with_licences(bom: dict[str, Any], licence_of: dict[str, str]) -> dict[str, Any]:
    """The same with the licence of each component.

    Raises:
        ValueError: a component has none; says which.
    """
    for component in bom["components"]:
        spdx = licence_of.get(locks.canonical(component["name"]), "")
        if not spdx:
            raise ValueError(f"{component['name']} {component['version']}: licence unknown")
        component["licenses"] = [_choice(spdx)]
    return bom


def _choice(spdx: str) -> dict[str, Any]:
    """A licence as CycloneDX writes it: an identifier, a name of no SPDX licence, or an expression of several."""
    if " " in spdx:
        return {"expression": spdx}
    return {"license": {"name" if spdx.startswith("LicenseRef-") else "id": spdx}}


def text(bom: dict[str, Any]) -> str:
    """As it is written: keys in order, so that two of them can be compared."""
    return json.dumps(bom, indent=2, sort_keys=True) + "\n"


def _of_lock(role: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "--pyproject", "pyproject.toml"]
    command += ["--output-reproducible", "--short-PURLs", "--of", "JSON", f"requirements/{role}.txt"]
    done = subprocess.run(command, cwd=locks.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    bom: dict[str, Any] = json.loads(done.stdout)
    return bom


def main() -> int:
    """Writes one file for each role that is shipped."""
    PLACE.mkdir(parents=True, exist_ok=True)
    licence_of = {name: spdx for name, _, spdx, _ in licences.rows()}
    for role in locks.SHIPPED:
        path = Path(PLACE / f"{role}.cdx.json")
        try:
            bom = with_licences(_of_lock(role), licence_of)
        except (subprocess.CalledProcessError, ValueError) as error:
            print(f"sbom: {role}: {error}", file=sys.stderr)
            return 1
        path.write_text(text(bom))
        print(f"{path.relative_to(locks.ROOT)}: {len(bom['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
