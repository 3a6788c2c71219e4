"""Image, wheel, locks and sources mean the same: what is added in one place and forgotten in another is noticed."""

from __future__ import annotations

import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from nodetell import __version__

from release import locks

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def sources() -> set[str]:
    """Files of the packages, by their path below where they are installed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    if listing.returncode or not names:
        pytest.skip("not a git checkout: which files are the repository's cannot be told")
    return {name.removeprefix("proto/") for name in names}


def test_the_wheel_has_every_file_of_the_packages_and_no_other(tmp_path: Path) -> None:
    """Templates, rendered manifests and assets, too: what .gitignore names is left out of a wheel without a word."""
    from hatchling.builders.wheel import WheelBuilder

    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        scripts = wheel.read(next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))).decode()
    wanted = sources()
    assert wanted <= packed
    # What is not committed yet is packed as well, caches are not.
    assert all(name.split("/")[0] in {Path(each).name for each in PACKAGES} for name in packed)
    assert not [name for name in packed if "__pycache__" in name or name.endswith(".pyc")]
    assert Path(built).name.startswith(f"nodetell-{__version__}-")
    for name, place in PROJECT["project"]["scripts"].items():
        assert f"{name} = {place}" in scripts


def test_the_dockerfile_builds_from_the_packages_of_the_wheel_and_from_hashed_locks() -> None:
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    }
    assert {Path(each).parts[0] for each in PACKAGES} <= copied
    assert {name for name in copied if name.startswith("requirements/")} == {
        "requirements/image.txt",
        "requirements/run.txt",
    }
    steps = DOCKERFILE.replace("\\\n", " ").rsplit("\nFROM ", 1)[0]
    installs = [each for each in re.split(r"&&|\n", steps) if "pip install" in each]
    of_locks = [each for each in installs if " -r requirements/" in each]
    assert len(of_locks) == 2
    assert all("--require-hashes" in each and "--only-binary :all:" in each for each in of_locks)
    assert all("--no-deps" in each for each in installs if each not in of_locks)


def test_the_python_of_the_image_is_one_that_the_project_runs_on() -> None:
    ((major, minor),) = set(re.findall(r"^FROM python:(\d+)\.(\d+)-slim-\w+ AS build$", DOCKERFILE, re.MULTILINE))
    least = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert least
    assert (int(major), int(minor)) >= (int(least[1]), int(least[2]))
    assert f"python{major}.{minor}" in (ROOT / "Makefile").read_text()  # which is tried on machines, too


def test_what_is_installed_here_is_what_the_image_would_be_made_of() -> None:
    """So that what the other tests run is what is shipped."""
    from importlib import metadata

    for pinned in locks.read("image"):
        try:
            assert metadata.version(pinned.name) == pinned.version, pinned.name
        except metadata.PackageNotFoundError:
            assert pinned.marker, f"{pinned.name} is in the lock and not installed"


def test_the_make_targets_of_the_image_and_the_dockerfile_do_the_same() -> None:
    makefile = (ROOT / "Makefile").read_text()
    target = makefile[makefile.index("\nimage-rootfs:") : makefile.index("\n.PHONY: image-archive")]
    for wanted in (
        "--only-binary :all:",
        "--require-hashes -r requirements/image.txt",
        "--no-build-isolation --no-deps .",
    ):
        assert wanted in target
        assert wanted in " ".join(DOCKERFILE.replace("\\\n", " ").split())
    assert "release.rootfs" in target
    assert "release.rootfs /rootfs" in DOCKERFILE
