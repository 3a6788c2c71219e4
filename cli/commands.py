"""The commands that ask an aggregator: nodes, node, findings."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace

from nodetell.v1 import operator_pb2

from aggregator.convert import gap_from_message, record_from_message, record_to_json
from aggregator.node_json import summary_json
from cli import client, coverage_text, exits, findings_table, links_table, nodes_table
from cli.access import reached
from cli.documents import emit_document, wants_document
from cli.exits import CliError
from cli.facts import HostFacts
from cli.listing import choice, emit_listing
from cli.node_text import node_text
from cli.render import event_text, report_text
from cli.report import Json, Report, iso, live_json
from cli.terminal import Look, emit, look

_EVENT_WORDS = {
    operator_pb2.FindingEvent.KIND_STANDING: "standing",
    operator_pb2.FindingEvent.KIND_APPEARED: "appeared",
    operator_pb2.FindingEvent.KIND_CHANGED: "changed",
    operator_pb2.FindingEvent.KIND_RESOLVED: "resolved",
    operator_pb2.FindingEvent.KIND_SYNCED: "synced",
}

_UNBOUNDED = 100_000
"""Columns of a page whose lines are as long as they are."""


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    commands = {"nodes": _nodes, "node": _node, "findings": _findings}
    _check(arguments)
    with client.operator(reached(arguments), arguments.timeout) as operator:
        return commands[arguments.command](operator, arguments, look(sys.stdout, os.environ))


def _check(arguments: argparse.Namespace) -> None:
    """That the flags fit together, before anybody is asked. Raises CliError."""
    if arguments.command == "nodes":
        choice(arguments, nodes_table.columns(0.0))
    elif arguments.command == "node":
        if arguments.coverage:
            choice(arguments, coverage_text.COLUMNS)
        else:
            choice(arguments, links_table.COLUMNS)
    elif choice(arguments, findings_table.COLUMNS).table and arguments.watch:
        raise CliError(
            exits.USAGE, "findings: --watch has no table: what comes later is not known; json and yaml are streams"
        )


def _nodes(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    answer = operator.nodes()
    if wants_document(arguments):
        nodes = [summary_json(node) for node in answer.nodes]
        emit_document({"aggregator_version": answer.aggregator_version, "nodes": nodes}, arguments)
    else:
        wanted = choice(arguments, nodes_table.columns(nodes_table.now(answer, time.time())))
        if wanted.table:
            emit_listing(answer.nodes, wanted, shape)
        else:
            emit(nodes_table.nodes_text(answer.nodes, wanted, shape))
    return exits.OK


def _node(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    facts = HostFacts(operator.node(arguments.name))
    if arguments.coverage:
        signals = choice(arguments, coverage_text.COLUMNS)
        if wants_document(arguments):
            emit_document(coverage_text.coverage_json(facts), arguments)
        elif signals.table:
            emit_listing(coverage_text.states(facts), signals, shape)
        else:
            emit(coverage_text.coverage_page(facts, shape))
        return exits.OK
    if wants_document(arguments):
        emit_document(facts.as_json(), arguments)
    elif _asks_for_links(arguments):
        emit_listing(links_table.rows(facts), choice(arguments, links_table.COLUMNS), shape)
    else:
        whole = arguments.format == "wide"
        emit(node_text(facts, replace(shape, width=_UNBOUNDED) if whole else shape, whole=whole))
    return exits.OK


def _asks_for_links(arguments: argparse.Namespace) -> bool:
    """A table in place of a node's page; --format wide by itself is the page with nothing folded."""
    return arguments.columns is not None or arguments.sort_by is not None or arguments.no_headers


def _findings(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    if arguments.watch:
        return _watch(operator, arguments, shape)
    answer = operator.findings(resolved=arguments.all)
    records = [record_from_message(finding) for finding in answer.findings]
    gaps = [gap_from_message(each) for each in answer.coverage]
    report = Report("", time.time(), records, gaps)
    wanted = choice(arguments, findings_table.COLUMNS)
    if wants_document(arguments):
        emit_document(live_json(report), arguments)
    elif wanted.table:
        emit_listing(records, wanted, shape, "no findings")
    else:
        emit(report_text(report, shape, verbose=arguments.verbose))
    return report.status


def _watch(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    standing = 0
    try:
        for event in operator.watch():
            show_event(event, shape, arguments)
            standing += event.kind == operator_pb2.FindingEvent.KIND_STANDING
            if event.kind == operator_pb2.FindingEvent.KIND_SYNCED and not wants_document(arguments) and not standing:
                # A screen that stays empty cannot be told from a command that hangs.
                emit(f"{iso(event.at_unix_ms / 1000)} no findings; watching for some")
    except KeyboardInterrupt:
        pass
    return exits.OK


def show_event(event: operator_pb2.FindingEvent, shape: Look, arguments: argparse.Namespace) -> None:
    """Print what became of a finding."""
    if wants_document(arguments):
        emit_document(_event_json(event), arguments, lines=True)
    elif event.kind in _EVENT_WORDS and event.HasField("finding"):
        emit(event_text(_EVENT_WORDS[event.kind], event.at_unix_ms / 1000, record_from_message(event.finding), shape))


def _event_json(event: operator_pb2.FindingEvent) -> Json:
    document: Json = {"event": _EVENT_WORDS.get(event.kind, "unknown"), "at": iso(event.at_unix_ms / 1000) or None}
    if event.HasField("finding"):
        document["finding"] = record_to_json(record_from_message(event.finding))
    return document
