"""Elements of SVG and HTML as text that is safe to send: everything that is not markup already is escaped."""

from __future__ import annotations

from markupsafe import Markup, escape

from aggregator.web.page.words import harmless


def tag(element: str, /, *content: str, **attributes: str | float | None) -> Markup:
    """An element. In an attribute's name "_" stands for "-", and is left out at the end; None: it is not there."""
    inside = Markup("").join(safe(each) for each in content)
    told = Markup("").join(
        Markup(' {}="{}"').format(_name(name), safe(value) if isinstance(value, str) else number(value))
        for name, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(element, told, inside)


def safe(text: str) -> Markup:
    """Text from anywhere: without characters that no XML may have, or that turn what is read, and escaped."""
    return text if isinstance(text, Markup) else escape(harmless(text))


def number(value: float) -> str:
    """A coordinate, to a tenth."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
