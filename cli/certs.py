"""`nodetell certs`: a private authority, certificates of it, their renewal, and what certificates say."""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nodetell.names import node_name_problem

from cli import exits
from cli.documents import emit_document, wants_document
from cli.exits import CliError
from cli.listing import Column, choice, emit_listing
from cli.terminal import clean, complain, emit, look

if TYPE_CHECKING:
    from cli.authority import Described, Role, Signed

_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)(\*\.)?{_LABEL}(\.{_LABEL})*")
_PERSON = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._@]{0,63}")
_MAX_FILE = 1 << 20
_RENEW_AT = 3
"""A certificate with less than this part of its time left is renewed."""


def run(arguments: argparse.Namespace) -> int:
    """Run one part of the command."""
    try:
        from cli import authority  # noqa: F401, PLC0415  # only this command needs it
    except ImportError as error:
        reason = "needs the package cryptography (pip install 'nodetell[cli]')"
        raise CliError(exits.UNAVAILABLE, f"certs: {reason}") from error
    choice(arguments, COLUMNS)  # what is wrong with it is said before anything is written
    parts = {"init": _init, "issue": _issue, "renew": _renew, "show": _show}
    return parts[arguments.part](arguments)


def _init(arguments: argparse.Namespace) -> int:
    from cli.authority import DAYS, Role, new_authority  # noqa: PLC0415

    if not _PERSON.fullmatch(arguments.name):
        raise CliError(exits.USAGE, f"--name: {_quoted(arguments.name)} is no name of an authority")
    made = new_authority(arguments.name, arguments.days or DAYS[Role.AUTHORITY], _now())
    directory = Path(arguments.directory)
    _make(directory)
    return _told([_written(made, directory / "ca.crt", force=arguments.force)], arguments)


def _issue(arguments: argparse.Namespace) -> int:
    from cli.authority import DAYS, AuthorityError, issue  # noqa: PLC0415

    role, name, alternatives, stem = _wanted(arguments)
    directory = Path(arguments.directory)
    by = _authority(directory)
    try:
        made = issue(by, role, name, alternatives, days=arguments.days or DAYS[role], now=_now())
    except AuthorityError as error:
        raise CliError(exits.CONFIG, f"{directory}: {error}") from error
    output = Path(arguments.output) if arguments.output else directory
    _make(output)
    return _told([_written(made, output / f"{stem}.crt", force=arguments.force)], arguments)


def _wanted(arguments: argparse.Namespace) -> tuple[Role, str, Sequence[str], str]:
    """Role, common name, alternative names and the file's name. Raises CliError."""
    from cli.authority import Role  # noqa: PLC0415

    names, node = arguments.name, arguments.node
    if arguments.role == "agent":
        if names or not node:
            raise CliError(exits.USAGE, "--role agent: say whose with --node NAME, and nothing else")
        if problem := node_name_problem(node):
            raise CliError(exits.USAGE, f"--node: {problem}")
        return Role.AGENT, node, (), f"agent-{node}"
    if node or not names:
        raise CliError(exits.USAGE, f"--role {arguments.role}: say whose with --name, and not with --node")
    if arguments.role == "operator":
        if len(names) != 1 or not _PERSON.fullmatch(names[0]):
            raise CliError(exits.USAGE, "--role operator: --name takes one name of letters, digits and -._@")
        return Role.OPERATOR, names[0], (), f"operator-{names[0]}"
    for each in names:
        if not _is_address(each) and not _HOST.fullmatch(each):
            raise CliError(exits.USAGE, f"--name: {_quoted(each)} is no host name and no IP address")
    return Role.AGGREGATOR, "nodetell-aggregator", names, "aggregator"


def _renew(arguments: argparse.Namespace) -> int:
    from cli.authority import AuthorityError, certificates_in, describe, is_signed_by, issue  # noqa: PLC0415

    directory = Path(arguments.directory)
    by = _authority(directory)
    named = [Path(each) for each in arguments.file]
    renewed = []
    for path in named or sorted(directory.glob("*.crt")):
        try:
            old = certificates_in(_read(path))[0]
            what = describe(old)
            whole, left = what.not_after - what.not_before, what.not_after - _now()
            ours = not what.is_authority and is_signed_by(old, by.certificate)
            if not named and (not ours or left >= whole / _RENEW_AT):
                continue
            if not ours or what.role is None:
                raise CliError(exits.CONFIG, f"{path}: was not issued by the authority in {directory}")
            days = max(1, round(whole / datetime.timedelta(days=1)))
            made = issue(by, what.role, what.name, what.alternatives, days=days, now=_now())
        except AuthorityError as error:
            raise CliError(exits.CONFIG, f"{path}: {error}") from error
        renewed.append(_written(made, path, force=True))
    return _told(renewed, arguments, none="nothing to renew: all have a third of their time left, or more")


def _show(arguments: argparse.Namespace) -> int:
    from cli.authority import AuthorityError, certificates_in, describe  # noqa: PLC0415

    found, status = [], exits.OK
    for path in (Path(each) for each in arguments.file):
        try:
            found += [(path, None, describe(each)) for each in certificates_in(_read(path))]
        except (AuthorityError, CliError) as error:
            complain(str(error) if isinstance(error, CliError) else f"{path}: {error}")
            status = exits.UNREADABLE
    _told(found, arguments)
    return status


# -- files -----------------------------------------------------------------------------------------------------------


def _authority(directory: Path) -> Signed:
    from cli.authority import AuthorityError, load_authority  # noqa: PLC0415

    try:
        return load_authority(_read(directory / "ca.crt"), _read(directory / "ca.key"))
    except AuthorityError as error:
        raise CliError(exits.CONFIG, f"{directory / 'ca.crt'}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        hint = "; nodetell certs init makes it" if path.name == "ca.crt" and not path.exists() else ""
        raise CliError(exits.UNREADABLE, f"{path}: {(error.strerror or str(error)).lower()}{hint}") from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(exits.CANNOT_CREATE, f"{directory}: {(error.strerror or str(error)).lower()}") from error


def _written(made: Signed, path: Path, *, force: bool) -> tuple[Path, Path | None, Described]:
    """Write the key, then the certificate: a process that reads in between finds that they do not fit, and waits."""
    from cli.authority import describe  # noqa: PLC0415

    key = path.with_suffix(".key")
    if not force and (taken := next((each for each in (key, path) if each.exists()), None)) is not None:
        raise CliError(exits.CANNOT_CREATE, f"{taken}: is there already; --force writes over it")
    _write(key, made.key_pem(), 0o600, force=force)
    _write(path, made.certificate_pem(), 0o644, force=force)
    return path, key, describe(made.certificate)


def _write(path: Path, content: bytes, mode: int, *, force: bool) -> None:
    """The whole file at once, with these rights from its first moment on."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if force:
                beside.replace(path)
            else:
                os.link(beside, path)  # fails where something has come to be there meanwhile
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise CliError(exits.CANNOT_CREATE, f"{path}: {(error.strerror or str(error)).lower()}") from error


# -- what is told ----------------------------------------------------------------------------------------------------


def _told(
    found: Sequence[tuple[Path, Path | None, Described]], arguments: argparse.Namespace, none: str = "no certificate"
) -> int:
    wanted = choice(arguments, COLUMNS)
    if wants_document(arguments):
        emit_document({"certificates": [_json(*each) for each in found]}, arguments)
    elif wanted.table:
        emit_listing(found, wanted, look(sys.stdout, os.environ))
    elif found:
        emit("\n\n".join(_text(*each) for each in found))
    elif arguments.part != "show":
        emit(none)
    return exits.OK


COLUMNS: Sequence[Column[tuple[Path, Path | None, Described]]] = (
    Column("FILE", "of the certificate", lambda row: str(row[0])),
    Column("ROLE", "authority, aggregator, agent or operator", lambda row: _role(row[2])),
    Column("NAME", "its common name", lambda row: row[2].name),
    Column("NAMES", "host names and addresses", lambda row: ",".join(row[2].alternatives)),
    Column("UNTIL", "when it expires", lambda row: _iso(row[2].not_after)),
    Column("FROM", "since when it counts", lambda row: _iso(row[2].not_before), wide=True),
    Column("ISSUER", "who signed it", lambda row: row[2].issuer, wide=True),
    Column("KEY", "file of its key, where it was made", lambda row: str(row[1] or ""), wide=True),
)
"""All columns of certificates as a table."""


def _role(what: Described) -> str:
    return what.role.name.lower() if what.role is not None else ""


def _json(path: Path, key: Path | None, what: Described) -> dict[str, object]:
    return {
        "file": str(path),
        "key": str(key) if key is not None else None,
        "role": _role(what) or None,
        "name": what.name,
        "names": list(what.alternatives),
        "subject": what.subject,
        "issuer": what.issuer,
        "not_before": _iso(what.not_before),
        "not_after": _iso(what.not_after),
        "expired": what.not_after <= _now(),
    }


def _text(path: Path, key: Path | None, what: Described) -> str:
    role = _role(what) or "of no role here"
    left = (what.not_after - _now()).days
    state = "EXPIRED" if what.not_after <= _now() else f"{left} day{'' if left == 1 else 's'} left"
    rows = [
        ("role", f"{role} {what.name}".strip()),
        ("names", ", ".join(what.alternatives)),
        ("subject", what.subject),
        ("issuer", what.issuer),
        ("valid", f"{_iso(what.not_before)} to {_iso(what.not_after)}, {state}"),
        ("key", str(key) if key is not None else ""),
    ]
    return "\n".join([clean(str(path)), *(f"  {label:8} {clean(value)}" for label, value in rows if value)])


def _iso(at: datetime.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return f'"{clean(text[:80])}"'
