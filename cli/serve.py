"""`nodetell diagnose BUNDLE --serve`: the page and the HTTP API of a bundle, on loopback, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal

from nodetell.logs import configure

from aggregator.settings import HttpSettings, is_loopback
from aggregator.web.server import HttpServer, ListenError, make_site
from cli import exits
from cli.bundle_known import BundleKnown, known_of
from cli.terminal import clean, emit, emit_json

DEFAULT = "127.0.0.1:0"
"""A free port of this host."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. Raises CliError where the bundle or the address can't be used."""
    listen: str = arguments.serve or DEFAULT
    try:
        HttpSettings(listen=listen)
    except ValueError as error:
        raise exits.CliError(exits.USAGE, f"--serve: {clean(str(error).partition(': ')[2])}") from error
    if not is_loopback(listen):
        raise exits.CliError(exits.USAGE, f'--serve: "{clean(listen)}" is not loopback: nobody is asked who they are')
    configure("warning")
    known = known_of(arguments.bundle)
    return asyncio.run(_serve(known, listen, as_json=arguments.format == "json"))


async def _serve(known: BundleKnown, listen: str, *, as_json: bool) -> int:
    server = HttpServer(make_site(known, None), listen)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) wants it ignored
            loop.add_signal_handler(number, stop.set)
    try:
        address = await server.start()
        if as_json:
            emit_json({"event": "serving", "address": address, "cluster": known.cluster}, lines=True)
        else:
            emit(f"cluster {clean(known.cluster)} of the bundle: {address}/   (Ctrl-C ends it)")
        await stop.wait()
    except ListenError as error:
        raise exits.CliError(exits.UNAVAILABLE, f"--serve: {clean(str(error))}") from error
    finally:
        await server.aclose()
    return exits.OK
