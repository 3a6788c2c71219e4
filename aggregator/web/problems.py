"""How it is said that something could not be answered: to scripts as JSON (RFC 9457), to browsers as a short page.

A reason names the thing, the place and why, in one line. What only we could mend is logged and not told.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

_log = logging.getLogger("nodetell.aggregator")
MEDIA_TYPE = "application/problem+json"
API = "/api/"
"""What scripts ask for is below."""


class ProblemError(Exception):
    """A request that ends here: status, and why."""

    def __init__(
        self, status: int, detail: str, *, parameter: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """`parameter`: the one that is wrong."""
        super().__init__(detail)
        self.status, self.detail, self.parameter = status, detail, parameter
        self.headers = dict(headers or {})


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a request was not answered (RFC 9457)."""

    title: str
    """The status in words."""
    status: int
    detail: str = ""
    """What is wrong, in one line."""
    parameter: str = ""
    """The parameter that is."""


def busy(status: int, detail: str, after_s: float = 1.0) -> ProblemError:
    """Too much at a time: come again after so many seconds."""
    return ProblemError(status, detail, headers={hdrs.RETRY_AFTER: str(max(1, round(after_s)))})


def of_api(request: web.BaseRequest) -> bool:
    """A script asks."""
    return request.path.startswith(API)


def root_of(path: str) -> str:
    """The way from an address up to where the page begins, as a relative link: it may stand below any prefix."""
    return "../" * (path.count("/") - 1) or "./"


def answer(request: web.BaseRequest, problem: ProblemError) -> web.Response:
    """What is sent."""
    status, title = problem.status, HTTPStatus(problem.status).phrase
    if of_api(request):
        body = msgspec.json.encode(Problem(title, status, problem.detail, problem.parameter))
        return web.Response(status=status, body=body, content_type=MEDIA_TYPE, headers=problem.headers)
    text = _PAGE.format(
        title=html.escape(title), detail=html.escape(problem.detail), root=html.escape(root_of(request.path))
    )
    return web.Response(status=status, text=text, content_type="text/html", headers=problem.headers)


@web.middleware
async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Makes such an answer of whatever goes wrong."""
    try:
        return await handler(request)
    except ProblemError as problem:
        return answer(request, problem)
    except web.HTTPException as refused:
        if refused.status < HTTPStatus.BAD_REQUEST:
            raise
        headers = {"Allow": refused.headers[hdrs.ALLOW]} if hdrs.ALLOW in refused.headers else {}
        return answer(request, ProblemError(refused.status, _detail(request, refused), headers=headers))
    except Exception:  # noqa: BLE001  # a defect: it is logged, and the next request is answered
        _log.exception("event=request_failed path=%s", request.path)
        return answer(request, ProblemError(500, "the answer could not be made; the aggregator's log says more"))


def _detail(request: web.Request, refused: web.HTTPException) -> str:
    match refused:
        case web.HTTPNotFound():
            return f"{request.rel_url.raw_path}: there is nothing here"
        case web.HTTPMethodNotAllowed():
            return (
                f"{request.method} {request.path}: only {', '.join(sorted(refused.allowed_methods))} is answered here"
            )
        case web.HTTPRequestEntityTooLarge():
            return "the request is too long"
    return refused.reason


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Nodetell</title>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{detail}</p>
<p><a href="{root}">To the overview</a></p>
</main>
</body>
</html>
"""
