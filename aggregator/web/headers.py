"""What each answer says beside what was asked for: that a browser is to load nothing from elsewhere, run nothing that
is not ours, show us in no frame, and ask each time."""

from __future__ import annotations

from aiohttp import hdrs, web

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""Content-Security-Policy: no inline script or style either."""
_ALWAYS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    hdrs.SERVER: "nodetell",
}


async def secure(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001  # aiohttp's signature
    """Put them on an answer that is about to be sent."""
    put(response)


def put(response: web.StreamResponse) -> None:
    """Put them on an answer."""
    for name, value in _ALWAYS.items():
        response.headers[name] = value
    # Kept, but asked about each time: a browser shows nothing to whoever is not let in any more.
    response.headers.setdefault(hdrs.CACHE_CONTROL, "private, no-cache")
