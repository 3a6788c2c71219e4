"""`nodetell doctor`: what is wrong with an installation, of the API server, of the aggregator, or of both."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import httpx2
from nodetell import __version__

from aggregator.cluster import credentials
from aggregator.cluster.credentials import KubeError
from cli import exits, kube
from cli.doctor import admission, certificates, nodes, objects, pods, rights, versions_and_clocks
from cli.doctor.aggregator_reader import read_aggregator, shown_certificate
from cli.doctor.api_reader import ApiRead, ApiReader
from cli.doctor.model import Check, Reading, State, Unread
from cli.documents import emit_document, wants_document
from cli.exits import CliError
from cli.flags import DEFAULT_AGGREGATOR
from cli.listing import Column, choice, emit_listing
from cli.terminal import Look, emit, look, wrap

_ORDER = (State.BROKEN, State.WRONG, State.UNKNOWN, State.OK)
_STYLES = {State.BROKEN: "critical", State.WRONG: "warning", State.UNKNOWN: "info", State.OK: "good"}

COLUMNS: Sequence[Column[Check]] = (
    Column(
        "STATE", "broken, wrong, unknown or ok", lambda each: each.state.value, lambda each: _ORDER.index(each.state)
    ),
    Column("CHECK", "what was looked at", lambda each: each.name),
    Column("WHAT", "what was found", lambda each: each.what),
    Column("WHY", "what tells it", lambda each: each.why),
    Column("DO", "what mends it", lambda each: each.do),
)
"""All columns of checks as a table."""


def run(arguments: argparse.Namespace) -> int:
    """Read, check, and tell; the exit status is that of the worst."""
    wanted, shape = choice(arguments, COLUMNS), look(sys.stdout, os.environ)
    reading = read(arguments)
    found = sorted(checks(reading), key=lambda each: _ORDER.index(each.state))
    if wants_document(arguments):
        emit_document(as_json(reading, found), arguments)
    elif wanted.table:
        emit_listing(found, wanted, shape)
    else:
        emit(as_text(found, shape, verbose=arguments.verbose))
    return status(found)


def read(arguments: argparse.Namespace) -> Reading:
    """What both sides say. Raises CliError where neither of them says anything."""
    api = _read_api(arguments)
    not_asked = _why_not_asked(arguments)
    told = not_asked or read_aggregator(arguments)
    if isinstance(api, Unread) and isinstance(told, Unread):
        raise CliError(exits.UNAVAILABLE, f"API server: {api.why}\n{told.why}")
    shown: bytes | Unread = not_asked or b""
    if not_asked is None and not arguments.insecure:
        shown = shown_certificate(arguments.aggregator, arguments.server_name or "", arguments.timeout)
    found = ApiRead() if isinstance(api, Unread) else api
    return Reading(
        arguments.namespace,
        time.time(),
        __version__,
        found.lists,
        found.rights,
        found.ahead,
        told,
        shown,
        api if isinstance(api, Unread) else None,
    )


def _read_api(arguments: argparse.Namespace) -> ApiRead | Unread:
    if arguments.no_kube:
        return Unread("it was not asked (--no-kube)")
    try:
        source = credentials.find(arguments.kubeconfig, os.environ, Path.home())
        if source is None:
            return Unread("no kubeconfig and no service account at hand (--kubeconfig names one)")
        with kube.connect(credentials.load(source, os.environ)) as client:
            client.timeout = httpx2.Timeout(arguments.timeout)
            return ApiReader(client, arguments.namespace).read()
    except KubeError as error:
        return Unread(str(error))


def _why_not_asked(arguments: argparse.Namespace) -> Unread | None:
    """Only an aggregator that was named is asked: on loopback there may be another one."""
    if arguments.insecure or arguments.ca or arguments.aggregator != DEFAULT_AGGREGATOR:
        return None
    forward = f"kubectl -n {arguments.namespace} port-forward deployment/nodetell-aggregator 7443"
    how = "--ca ca.crt --server-name nodetell-aggregator --token-file FILE"
    return Unread(f"the aggregator was not asked: {forward}, then {how} (docs/operating.md)")


def checks(reading: Reading) -> Iterator[Check]:
    """All of them. What stands on the API server alone is left out where that was not read."""
    if reading.api_unread is not None:
        yield reading.api_unread.check("API server", "everything that the API server knows")
    else:
        yield from objects.check(reading)
        yield from pods.check(reading)
        yield from nodes.check(reading)
        yield from rights.check(reading)
        yield from admission.check_pod_security(reading)
        yield from admission.check_network(reading)
    if isinstance(reading.aggregator, Unread):
        what = "agents that are heard, their versions and clocks, the certificate that is shown"
        yield reading.aggregator.check("aggregator", what)
    yield from certificates.check(reading)
    yield from nodes.check_heard(reading)
    yield from versions_and_clocks.check_versions(reading)
    yield from versions_and_clocks.check_clocks(reading)


def status(found: Iterable[Check]) -> int:
    """0: nothing is wrong, as far as it could be checked; 1: something is; 2: something keeps it from working."""
    states = {each.state for each in found}
    if State.BROKEN in states:
        return exits.CRITICAL
    return exits.WARNING if State.WRONG in states else exits.OK


def as_json(reading: Reading, found: Iterable[Check]) -> dict[str, object]:
    """For programs."""
    entries = [
        {"check": each.name, "state": each.state.value, "what": each.what, "why": each.why, "do": each.do}
        for each in found
    ]
    return {"namespace": reading.namespace, "version": reading.version, "checks": entries}


def as_text(found: list[Check], shape: Look, *, verbose: bool) -> str:
    """To read: the worst first; what is well as one line unless all is asked for."""
    lines: list[str] = []
    for each in found:
        if each.state is State.OK and not verbose:
            continue
        mark = shape.style(f"{each.state.value:8}", _STYLES[each.state])
        first, *rest = wrap(f"{each.name}: {each.what}", shape.width - 8) or [""]
        lines += [f"{mark}{first}", *(f"        {line}" for line in rest)]
        if each.why:
            lines += wrap(f"why: {each.why}", shape.width, "        ", "             ")
        if each.do:
            lines += wrap(f"do:  {each.do}", shape.width, "        ", "             ")
    counted = [(state, sum(each.state is state for each in found)) for state in _ORDER]
    told = ", ".join(f"{count} {state.value}" for state, count in counted if count)
    return "\n".join([*lines, "", f"{len(found)} checks: {told}"] if lines else [f"{len(found)} checks: {told}"])
