"""The commands that ask an aggregator: nodes, node, findings."""

from __future__ import annotations

import argparse
import os
import sys
import time

from nodetell.v1 import operator_pb2

from aggregator.convert import gap_from_message, record_from_message, record_to_json
from aggregator.node_json import summary_json
from cli import client, exits
from cli.access import access
from cli.coverage_text import coverage_json, coverage_page
from cli.facts import HostFacts
from cli.node_text import node_text, nodes_text
from cli.render import event_text, report_text
from cli.report import Json, Report, iso, live_json
from cli.terminal import Look, emit, emit_json, look

_EVENT_WORDS = {
    operator_pb2.FindingEvent.KIND_STANDING: "standing",
    operator_pb2.FindingEvent.KIND_APPEARED: "appeared",
    operator_pb2.FindingEvent.KIND_CHANGED: "changed",
    operator_pb2.FindingEvent.KIND_RESOLVED: "resolved",
    operator_pb2.FindingEvent.KIND_SYNCED: "synced",
}


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    commands = {"nodes": _nodes, "node": _node, "findings": _findings}
    with client.operator(access(arguments), arguments.timeout) as operator:
        return commands[arguments.command](operator, arguments, look(sys.stdout, os.environ))


def _nodes(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    answer = operator.nodes()
    if arguments.format == "json":
        nodes = [summary_json(node) for node in answer.nodes]
        emit_json({"aggregator_version": answer.aggregator_version, "nodes": nodes})
    else:
        emit(nodes_text(answer.nodes, time.time(), shape))
    return exits.OK


def _node(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    facts = HostFacts(operator.node(arguments.name))
    if arguments.format == "json":
        emit_json(coverage_json(facts) if arguments.coverage else facts.as_json())
    else:
        emit(coverage_page(facts, shape) if arguments.coverage else node_text(facts, shape))
    return exits.OK


def _findings(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    if arguments.watch:
        return _watch(operator, arguments, shape)
    answer = operator.findings(resolved=arguments.all)
    records = [record_from_message(finding) for finding in answer.findings]
    gaps = [gap_from_message(each) for each in answer.coverage]
    report = Report("", time.time(), records, gaps)
    if arguments.format == "json":
        emit_json(live_json(report))
    else:
        emit(report_text(report, shape, verbose=arguments.verbose))
    return report.status


def _watch(operator: client.Operator, arguments: argparse.Namespace, shape: Look) -> int:
    as_json = arguments.format == "json"
    standing = 0
    try:
        for event in operator.watch():
            show_event(event, shape, as_json=as_json)
            standing += event.kind == operator_pb2.FindingEvent.KIND_STANDING
            if event.kind == operator_pb2.FindingEvent.KIND_SYNCED and not as_json and not standing:
                # A screen that stays empty cannot be told from a command that hangs.
                emit(f"{iso(event.at_unix_ms / 1000)} no findings; watching for some")
    except KeyboardInterrupt:
        pass
    return exits.OK


def show_event(event: operator_pb2.FindingEvent, shape: Look, *, as_json: bool) -> None:
    """Print what became of a finding."""
    if as_json:
        emit_json(_event_json(event), lines=True)
    elif event.kind in _EVENT_WORDS and event.HasField("finding"):
        emit(event_text(_EVENT_WORDS[event.kind], event.at_unix_ms / 1000, record_from_message(event.finding), shape))


def _event_json(event: operator_pb2.FindingEvent) -> Json:
    document: Json = {"event": _EVENT_WORDS.get(event.kind, "unknown"), "at": iso(event.at_unix_ms / 1000) or None}
    if event.HasField("finding"):
        document["finding"] = record_to_json(record_from_message(event.finding))
    return document
