"""The command line: commands, their flags and help. The flags of a role's settings come from its settings dataclass."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nodetell import __version__

from cli import certs_flags
from cli.doctor import flags as doctor_flags
from cli.exits import HELP, USAGE
from cli.install import flags as install_flags
from cli.terminal import complain, emit

DEFAULT_AGGREGATOR = "127.0.0.1:7443"
_RAW = "examples:"
SETTING = "setting "
"""Begins the name under which a setting's flag is kept; its dotted name follows."""

_MODULES = {
    "up": "cli.up",
    "agent": "cli.roles",
    "aggregator": "cli.roles",
    "sensor": "cli.roles",
    "nodes": "cli.commands",
    "node": "cli.commands",
    "findings": "cli.commands",
    "explain": "cli.explain",
    "diagnose": "cli.diagnose",
    "collect": "cli.collect",
    "classify": "cli.classify",
    "signatures": "cli.signatures",
    "whatif": "cli.whatif",
    "certs": "cli.certs",
    "install": "cli.install.command",
    "doctor": "cli.doctor.command",
    "version": "cli.version",
}


class _Parser(argparse.ArgumentParser):
    """argparse's, but a wrong command line exits with 64 and help goes through the checked output."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}\n{self.prog} --help tells more")
        raise SystemExit(USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file in (None, sys.stdout):
            emit(message.rstrip("\n"))
        elif message:
            complain(message.rstrip("\n"))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, or SystemExit with 0 after help and 64 after a mistake."""
    wanted = next((argument for argument in argv if not argument.startswith("-")), "")
    parser = _build(wanted)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.error(f"which command? {', '.join(_MODULES)}")
    return arguments


def command(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What runs the command that was asked for."""
    module = importlib.import_module(_MODULES[arguments.command])
    run: Callable[[argparse.Namespace], int] = module.run
    return run


def _build(wanted: str) -> argparse.ArgumentParser:
    parser = _new(
        _Parser,
        prog="nodetell",
        description="Names Kubernetes day-2 incidents from the evidence that only the host has.",
        epilog=_EXAMPLES + "\n" + HELP,
    )
    parser.add_argument("--version", action="version", version=f"nodetell {__version__}", help="print the version")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    roles, questions = (_up, _agent, _aggregator, _sensor), (_nodes, _node, _findings, _explain, _whatif)
    for add in (*roles, *questions, _diagnose, _collect, _classify, _signatures, _certs, _install, _doctor, _version):
        add(commands, wanted)
    return parser


class _Formatter(argparse.HelpFormatter):
    """argparse's, but examples and exit statuses keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_RAW):
            return text
        return super()._fill_text(text, width, indent)


def _new(make: Callable[..., argparse.ArgumentParser], *args: str, **more: Any) -> argparse.ArgumentParser:
    return make(*args, formatter_class=_Formatter, allow_abbrev=False, **more)


def _add(commands: Any, name: str, summary: str, description: str, examples: str) -> argparse.ArgumentParser:
    epilog = f"{_RAW}\n{examples}\n\n{HELP}"
    parser = _new(commands.add_parser, name, help=summary, description=description, epilog=epilog)
    parser.set_defaults(command=name)
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="what to print: text to read, or JSON (default: text)",
    )
    return parser


_EXAMPLES = """\
examples:
  nodetell up                          an aggregator and an agent of this host, and what they find
  nodetell diagnose prod-a.tar.gz      a diagnosis of an evidence bundle, without any server
  nodetell collect prod-a.tar.gz       an evidence bundle of this host
  nodetell findings --watch            what an aggregator finds, as it happens
  nodetell explain ID                  one finding as a story: cause, evidence, what to do
"""


def _up(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "up",
        "run an aggregator and an agent of this host, and show what they find",
        "Runs an aggregator and an agent of this very host on loopback, prints a summary of the host, then findings "
        "as they appear, change and resolve. Ctrl-C stops both. Nothing is kept unless --state-directory is given. "
        "As root it sees more; what it cannot read, it says, with what would enable it.",
        "  nodetell up\n  nodetell up --listen 127.0.0.1:17443 --state-directory ~/.local/state/nodetell\n"
        "  nodetell up --probe-directory /var/lib/etcd      also measure fdatasync there\n"
        "  nodetell up --kubeconfig ~/.kube/config          join it with what this API server knows (read only)",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help=f"where the aggregator listens (default: {DEFAULT_AGGREGATOR}, or a free port if that one is taken)",
    )
    parser.add_argument(
        "--state-directory", metavar="PATH", help="keep the history of findings here (default: nowhere)"
    )
    parser.add_argument(
        "--probe-directory",
        metavar="PATH",
        action="append",
        default=[],
        help="measure the latency of fdatasync in this directory, by writing there once a second; may be repeated",
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="join the host with the cluster that this kubeconfig's current context names; nothing is written there "
        "(default: the API server is not asked)",
    )
    parser.add_argument("--agent-config", metavar="FILE", help="configuration file of the agent (TOML)")
    parser.add_argument("--aggregator-config", metavar="FILE", help="configuration file of the aggregator (TOML)")
    # For a parent that dies of Ctrl-C, as make does: take the terminal, so that only this command gets the signal.
    parser.add_argument("--own-terminal", action="store_true", help=argparse.SUPPRESS)


def _agent(commands: Any, wanted: str) -> None:
    parser = _add(
        commands,
        "agent",
        "run the agent: read this host, stream what changed to an aggregator",
        "Reads this host's interfaces, counters, disks, volumes and clock, and streams what changed to an aggregator. "
        "Settings come from --config, then NODETELL_AGENT_... variables, then flags; the last one wins.",
        "  nodetell agent --aggregator nodetell-aggregator:7443 --node $(hostname)\n"
        "  nodetell agent --config agent.toml --check-config\n  nodetell agent --print-config > agent.toml",
    )
    _role(parser, "agent", wanted)


def _aggregator(commands: Any, wanted: str) -> None:
    parser = _add(
        commands,
        "aggregator",
        "run the aggregator: join what agents report, diagnose, remember, answer",
        "Joins what the agents of a cluster report, names incidents, remembers them and answers operators. "
        "Settings come from --config, then NODETELL_AGGREGATOR_... variables, then flags; the last one wins.",
        "  nodetell aggregator --listen 127.0.0.1:7443\n"
        "  nodetell aggregator --config aggregator.toml --check-config\n"
        "  nodetell aggregator --print-config > aggregator.toml",
    )
    _role(parser, "aggregator", wanted)


def _sensor(commands: Any, wanted: str) -> None:
    parser = _add(
        commands,
        "sensor",
        "run the sensor: time other processes' fsync, count drops and retransmissions",
        "Attaches small programs to the kernel (BPF) and tells the agent of the same node, over a local socket, what "
        "they count. Needs CAP_BPF and CAP_PERFMON, and nothing more; what the kernel refuses, it says. "
        "Settings come from --config, then NODETELL_SENSOR_... variables, then flags; the last one wins.",
        "  nodetell sensor\n  nodetell sensor --socket /run/nodetell/sensor.sock --agent-uid 65534\n"
        "  nodetell sensor --print-config > sensor.toml",
    )
    _role(parser, "sensor", wanted)


def _role(parser: argparse.ArgumentParser, role: str, wanted: str) -> None:
    parser.add_argument("--config", metavar="FILE", help="configuration file (TOML)")
    parser.add_argument(
        "--check-config", action="store_true", help="check the settings, say all that is wrong, and exit"
    )
    parser.add_argument("--print-config", action="store_true", help="print the settings as an annotated file, and exit")
    parser.add_argument("--die-with", type=int, metavar="PID", help=argparse.SUPPRESS)
    if role != wanted:
        return
    from nodetell.setting import settings_of  # noqa: PLC0415

    from cli.role_settings import settings_class  # noqa: PLC0415  # other commands need no settings

    group = parser.add_argument_group("settings")
    for setting in settings_of(settings_class(role)):
        facts = "; ".join(fact for fact in (setting.limits, f"default: {_default(setting.default)}") if fact)
        group.add_argument(
            setting.flag,
            dest=SETTING + setting.dotted,
            metavar="LIST" if setting.is_list else setting.kind.__name__.upper(),
            nargs="?" if setting.kind is bool else None,
            const="true" if setting.kind is bool else None,
            help=f"{setting.doc.split('. ')[0].rstrip('.')} ({facts})".replace("%", "%%"),
        )


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else str(value)


def _client(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--aggregator",
        metavar="HOST:PORT",
        default=os.environ.get("NODETELL_AGGREGATOR") or DEFAULT_AGGREGATOR,
        help=f"which aggregator to ask (default: $NODETELL_AGGREGATOR, or else {DEFAULT_AGGREGATOR})",
    )
    for flag, metavar, doc in (
        ("--ca", "FILE", "authorities that may have signed the aggregator's certificate, PEM"),
        ("--certificate", "FILE", "client certificate to show, PEM"),
        ("--key", "FILE", "its private key, PEM"),
        ("--token-file", "FILE", "token to show, in place of a certificate or beside one"),
        ("--server-name", "NAME", "name that the aggregator's certificate has to have, where that is not the host's"),
    ):
        variable = "NODETELL_" + flag.removeprefix("--").replace("-", "_").upper()
        default = os.environ.get(variable)
        parser.add_argument(flag, metavar=metavar, default=default, help=f"{doc} (default: ${variable})")
    parser.add_argument(
        "--insecure", action="store_true", help="without TLS, to an aggregator on loopback, as `nodetell up` starts one"
    )
    parser.add_argument(
        "--timeout",
        type=_positive,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for an answer (default: 10)",
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f'"{text}" is no time in seconds')
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f'"{text}" is no number from 1 to 1000')
    return int(text)


def _nodes(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "nodes",
        "list the nodes that an aggregator knows",
        "Lists all nodes that an aggregator knows, with the state of their agents.",
        "  nodetell nodes\n  nodetell nodes --format json | jq -r '.nodes[] | select(.connected | not) | .node'",
    )
    _client(parser)


def _node(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "node",
        "show everything known of one node",
        "Shows one node: interfaces and what carries them, drops, disks, volumes, clock, and what could not be read.",
        "  nodetell node worker-3\n  nodetell node worker-3 --format json\n"
        "  nodetell node worker-3 --coverage      what is measured there, and what would enable the rest",
    )
    parser.add_argument("name", metavar="NAME", help="name of the node")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="each signal instead: how it is read, why not better, and which lines of the manifest would change that",
    )
    _client(parser)


def _findings(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "findings",
        "show what an aggregator finds",
        "Shows the findings that stand: causes first, what follows from them below, and what limits the diagnosis. "
        "The exit status tells the worst of them.",
        "  nodetell findings\n  nodetell findings --watch --format json",
    )
    parser.add_argument("--watch", action="store_true", help="go on with each that appears, changes or resolves")
    parser.add_argument("--all", action="store_true", help="also those that are resolved")
    parser.add_argument("--verbose", action="store_true", help="what follows from another finding in full, too")
    _client(parser)


def _explain(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "explain",
        "tell the story of a finding: symptom, cause, evidence, what to do, when it is over",
        "Tells one incident as a story: what suffers, what explains it link by link, on what evidence, what it is not, "
        "what to do first, and how to see that it is over. Of an aggregator, or of an evidence bundle where one is "
        "named. The exit status tells the worst finding of the chain.",
        "  nodetell explain sched-volume-zone-1a2b3c4d\n  nodetell explain sched.volume_zone prod-a.tar.gz\n"
        "  nodetell explain mtu prod-a.tar.gz --format json | jq -r '.what_to_do_first[]'",
    )
    parser.add_argument("id", metavar="ID", help="id or code of a finding, or its beginning")
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a bundle, in place of an aggregator")
    _client(parser)


def _whatif(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "whatif",
        "tell which pods could not come back if nodes or zones were lost",
        "Tells which pods would come back elsewhere if nodes or zones were lost now, which could not, why not, and "
        "what would make them: from an evidence bundle, or of an aggregator's cluster where no bundle is named. Pods "
        "are placed one after the other by the scheduler's own arithmetic, so that no two count on the same room. The "
        "exit status is 1 if something could not come back.",
        "  nodetell whatif --lose-zone eu-west-1a\n  nodetell whatif --lose-node worker-3 --lose-node worker-4\n"
        "  nodetell whatif prod-a.tar.gz --lose-zone eu-west-1a --format json | jq '.stranded[].because'",
    )
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a bundle, in place of an aggregator")
    parser.add_argument("--lose-zone", metavar="ZONE", action="append", help="a zone with all its nodes; repeatable")
    parser.add_argument("--lose-node", metavar="NODE", action="append", help="a node; repeatable")
    _client(parser)


def _diagnose(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "diagnose",
        "diagnose an evidence bundle; needs no server",
        "Diagnoses an evidence bundle: a directory, or a .tar.gz of one. Needs no server and no network, and says the "
        "same on every machine. What is missing or damaged in the bundle narrows the diagnosis, and is said.",
        "  nodetell diagnose prod-a.tar.gz\n  nodetell diagnose prod-a --format json | jq '.findings[].summary'\n"
        "  nodetell diagnose prod-a.tar.gz --serve          the same as a page to look at",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle: a directory or a .tar.gz")
    parser.add_argument("--verbose", action="store_true", help="what follows from another finding in full, too")
    parser.add_argument(
        "--serve",
        metavar="HOST:PORT",
        nargs="?",
        const="127.0.0.1:0",
        help="show it as a page, on loopback only, until Ctrl-C (default: a free port of 127.0.0.1)",
    )


def _collect(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "collect",
        "record an evidence bundle of this host; needs no server",
        "Records an evidence bundle of this host, for `nodetell diagnose` here or elsewhere: a directory, or one "
        ".tar.gz if PATH ends so. Two snapshots some seconds apart, so that counters have rates. Where a kubeconfig "
        "or a service account is at hand, the cluster's objects too: pods with what stands in their environment, of "
        "secrets only names and times.",
        "  nodetell collect /tmp/evidence.tar.gz\n  nodetell collect evidence --snapshots 3 --interval 60 --no-kube",
    )
    parser.add_argument("path", metavar="PATH", help="where to write: a new or empty directory, or a new .tar.gz")
    parser.add_argument("--node", metavar="NAME", help="name of this node in the cluster (default: the host name)")
    parser.add_argument(
        "--cluster",
        metavar="NAME",
        help='name of the cluster (default: the kubeconfig\'s, or else "default", as an aggregator has it)',
    )
    parser.add_argument("--snapshots", type=_count, default=2, metavar="N", help="how many snapshots (default: 2)")
    parser.add_argument(
        "--interval", type=_positive, default=10.0, metavar="SECONDS", help="time between snapshots (default: 10)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig to use (default: as kubectl finds it)")
    parser.add_argument("--no-kube", action="store_true", help="leave the cluster's objects out")


def _classify(commands: Any, _wanted: str) -> None:
    parser = _add(
        commands,
        "classify",
        "tell the cause family of event and status messages; needs no server",
        "Tells for each message the cause family, or that it is no fault, or that it is unknown, with the phrase that "
        "decided. Reads `kubectl get events -o json`, `kubectl describe` of pods, claims and nodes, or JSON lines "
        "{object, reason, exit_code, message}. A line that cannot be read is said, and the rest is read.",
        "  nodetell classify events.json --format json | jq -r .label | sort | uniq -c\n"
        "  kubectl get events -A -o json | nodetell classify\n  kubectl describe pod web-0 | nodetell classify -",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="where the messages are; - is standard input (default: -)"
    )


def _signatures(commands: Any, _wanted: str) -> None:
    _add(
        commands,
        "signatures",
        "list what is diagnosed, with which numbers, and when it is over; needs no server",
        "Lists all codes with their meaning, stage, default severity and clear condition, all thresholds with meaning, "
        "unit, default and source, and what is installed besides (entry points nodetell.signatures).",
        "  nodetell signatures\n  nodetell signatures --format json | jq -r '.codes[].code'",
    )


def _certs(commands: Any, _wanted: str) -> None:
    certs_flags.add(_add(commands, "certs", certs_flags.SUMMARY, certs_flags.DESCRIPTION, certs_flags.EXAMPLES), _new)


def _install(commands: Any, _wanted: str) -> None:
    install_flags.add(
        _add(commands, "install", install_flags.SUMMARY, install_flags.DESCRIPTION, install_flags.EXAMPLES)
    )


def _doctor(commands: Any, _wanted: str) -> None:
    parser = _add(commands, "doctor", doctor_flags.SUMMARY, doctor_flags.DESCRIPTION, doctor_flags.EXAMPLES)
    doctor_flags.add(parser)
    _client(parser)


def _version(commands: Any, _wanted: str) -> None:
    _add(commands, "version", "print the version", "Prints the version.", "  nodetell version --format json")
