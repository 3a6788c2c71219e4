"""Known vulnerabilities of every locked version: `make audit`.

pip-audit asks the package index, which answers for one version of a distribution. A mirror of an index may have a
distribution's own page only, whose advisories are those of its newest version: where that is the locked one, it is as
good an answer. A version that nobody answered for has not been audited, and that is a failure too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from release import locks

if TYPE_CHECKING:
    from pip_audit._service import PyPIService


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one locked version. `unanswered` is the reason where nothing was."""

    name: str
    version: str
    advisories: tuple[str, ...] = ()
    unanswered: str = ""


def verdict(answers: Iterable[Answer]) -> tuple[list[str], int]:
    """Lines for people, and 1 unless every version was answered for and none has an advisory."""
    lines, good = [], 0
    for answer in answers:
        what = f"{answer.name} {answer.version}"
        if answer.unanswered:
            lines.append(f"audit: {what}: not audited: {answer.unanswered}")
        elif answer.advisories:
            lines.append(f"audit: {what}: {', '.join(answer.advisories)}")
        else:
            good += 1
    bad = len(lines)
    lines.append(f"audit: {good} of {good + bad} versions have no known vulnerability")
    return lines, int(bad > 0 or good == 0)


def page_of_project(url: str) -> tuple[str, str] | None:
    """Address of a distribution's own page, and the version asked for; None: that was no page of one version."""
    head, slash, tail = url.rpartition("/pypi/")
    parts = tail.split("/")
    if not slash or len(parts) != 3 or parts[2] != "json":
        return None
    return f"{head}/pypi/{parts[0]}/json", parts[1]


def stands_for(page: Any, version: str) -> bool:
    """True where the page's advisories are those of that version."""
    if not isinstance(page, dict) or not isinstance(page.get("info"), dict):
        return False
    return page["info"].get("version") == version and isinstance(page.get("vulnerabilities"), list)


def _service() -> PyPIService:
    """pip-audit's, which falls back to the page of the distribution."""
    import requests
    from pip_audit._service import PyPIService

    class Fallback(requests.adapters.HTTPAdapter):  # type: ignore[misc]  # not looked into
        """Answers what the index has no page for from another page of it, where that says the same."""

        def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
            answer = super().send(request, *args, **options)
            other = page_of_project(request.url or "")
            if answer.status_code != requests.codes.not_found or not other:
                return answer
            asked = request.copy()
            asked.url = other[0]
            page = super().send(asked, *args, **{**options, "stream": False})
            if page.status_code == requests.codes.ok and stands_for(page.json(), other[1]):
                return page
            return answer

    service = PyPIService(timeout=30)
    service.session.mount("https://", Fallback())
    return service


def ask(pinned: Iterable[tuple[str, str]]) -> list[Answer]:
    """What the index says of each name and version."""
    from packaging.version import Version
    from pip_audit._service import ResolvedDependency, ServiceError

    service = _service()
    answers = []
    for name, version in pinned:
        try:
            found, advisories = service.query(ResolvedDependency(name, Version(version)))
        except ServiceError as error:
            answers.append(Answer(name, version, unanswered=f"{type(error).__name__}: {error}"))
            continue
        if found.is_skipped():
            answers.append(Answer(name, version, unanswered="the index has no page for this version"))
        else:
            answers.append(Answer(name, version, tuple(sorted({advisory.id for advisory in advisories}))))
    return answers


def main() -> int:
    """Asks for every version in the locks of the roles named; of all, if none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roles", nargs="*", help=f"locks to look at: {', '.join(locks.roles())}")
    chosen = parser.parse_args().roles or locks.roles()
    pinned = sorted({(entry.name, entry.version) for role in chosen for entry in locks.read(role)})
    lines, status = verdict(ask(pinned))
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
