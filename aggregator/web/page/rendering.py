"""Models into HTML: the templates' environment, and the files that pages load, each under a name of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from nodetell import __version__

from aggregator.known import Known
from aggregator.web.page import words

HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load."""

    name: str
    content: bytes
    content_type: str
    version: str
    """Of its content: browsers keep a file for as long as it is this one."""


@cache
def assets() -> Mapping[str, Asset]:
    """By name."""
    found = {}
    for path in sorted((HERE / "assets").iterdir()):
        content = path.read_bytes()
        version = hashlib.sha256(content).hexdigest()[:12]
        found[path.name] = Asset(path.name, content, _TYPES[path.suffix], version)
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is, for what it links to: links are relative, so that it works below any prefix."""

    here: str
    """Key of the navigation's entry; empty: none of them."""
    title: str
    depth: int = 0
    """Slashes below the first address of the page."""

    @property
    def root(self) -> str:
        """From here to the first address of the page."""
        return "../" * self.depth or "./"


def render(template: str, place: Place, known: Known, **model: object) -> str:
    """A whole page."""
    return (
        _environment()
        .get_template(template)
        .render(
            place=place,
            root=place.root,
            cluster=known.cluster,
            now=known.now(),
            live=known.live,
            version=__version__,
            assets=assets(),
            **model,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
        auto_reload=False,
    )
    for name in ("ago", "clock", "counted", "lasting", "machine", "milliseconds", "rate", "size", "some", "stamp"):
        environment.filters[name] = getattr(words, name)
    environment.filters["fact_value"] = words.value
    environment.filters["signal"] = words.signal
    environment.filters["source"] = words.source
    environment.filters["title_of"] = words.title
    return environment


def _harmless(value: object) -> object:
    """What a host has called something cannot turn the text around it; what templates and charts say stays as it is."""
    return words.harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value
