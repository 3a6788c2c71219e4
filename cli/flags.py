"""Flags that several commands share: what is printed, how an aggregator is asked, a role's settings."""

from __future__ import annotations

import argparse
import os

DEFAULT_AGGREGATOR = "127.0.0.1:7443"
SETTING = "setting "
"""Begins the name under which a setting's flag is kept; its dotted name follows."""
TEXT, DOCUMENT, LIST = ("text", "json"), ("text", "json", "yaml"), ("text", "json", "yaml", "wide")
"""Values of --format: of what prints events and logs, one document, a list."""
_SHAPES = {
    TEXT: "text to read, or JSON",
    DOCUMENT: "text to read, JSON or YAML",
    LIST: "text to read, JSON or YAML, or a table with all columns, a line each (wide)",
}


def output(parser: argparse.ArgumentParser, formats: tuple[str, ...], *, inherited: bool = False) -> None:
    """How the answer is printed; of lists, which columns too. `inherited`: no defaults of its own, for a part."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        choices=formats,
        default=argparse.SUPPRESS if inherited else "text",
        help=f"what to print: {_SHAPES[formats]} (default: text)",
    )
    if formats != LIST:
        return
    nothing = argparse.SUPPRESS if inherited else None
    group.add_argument(
        "--columns", metavar="NAME,...", default=nothing, help="a table of these columns (`nodetell help columns`)"
    )
    group.add_argument(
        "--sort-by",
        metavar="COLUMN[:desc]",
        default=nothing,
        help="a table sorted by this one, the worst or least first",
    )
    unset = argparse.SUPPRESS if inherited else False
    group.add_argument("--no-headers", action="store_true", default=unset, help="a table without its first line")


def client(parser: argparse.ArgumentParser) -> None:
    """Which aggregator is asked, and who asks; of a parser that has a way of its own (`reach`), that."""
    if (reach := getattr(parser, "reach", None)) is not None:
        reach(parser)
        return
    group = parser.add_argument_group("aggregator")
    group.add_argument(
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
        group.add_argument(flag, metavar=metavar, default=default, help=f"{doc} (default: ${variable})")
    group.add_argument(
        "--insecure", action="store_true", help="without TLS, to an aggregator on loopback, as `nodetell up` starts one"
    )
    group.add_argument(
        "--timeout",
        type=positive,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for an answer (default: 10)",
    )


def role(parser: argparse.ArgumentParser, name: str, *, settings: bool) -> None:
    """Configuration of a role; `settings`: with a flag for each of its settings, which have to be imported."""
    parser.add_argument("--config", metavar="FILE", help="configuration file (TOML)")
    parser.add_argument(
        "--check-config", action="store_true", help="check the settings, say all that is wrong, and exit"
    )
    parser.add_argument("--print-config", action="store_true", help="print the settings as an annotated file, and exit")
    parser.add_argument("--die-with", type=int, metavar="PID", help=argparse.SUPPRESS)
    if not settings:
        return
    from nodetell.setting import settings_of  # noqa: PLC0415

    from cli.role_settings import settings_class  # noqa: PLC0415  # other commands need no settings

    group = parser.add_argument_group("settings")
    for setting in settings_of(settings_class(name)):
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


def positive(text: str) -> float:
    """Seconds. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f'"{text}" is no time in seconds')
    return value


def count(text: str) -> int:
    """From 1 to 1000. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f'"{text}" is no number from 1 to 1000')
    return int(text)
