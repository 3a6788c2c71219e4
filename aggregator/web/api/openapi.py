"""The API's description (OpenAPI 3.1), made from the very rows that its routes are made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from nodetell import __version__

from aggregator.web.api.operation import Operation
from aggregator.web.api.parameters import Parameter, PathParameter
from aggregator.web.problems import MEDIA_TYPE, Problem

_ALWAYS = {
    304: "The client has this very answer (If-None-Match).",
    400: "A parameter is wrong: which, and why.",
    401: "Who asks is not known.",
    403: "Who asks is known, and may not read findings.",
    421: "Without TLS, only this host's own names are answered to.",
    429: "Too many requests of this address are being worked on: come again after Retry-After.",
    500: "The answer could not be made.",
    503: "Too much is being worked on, or can't be found out at present: come again.",
}
_MORE = {
    404: "There is no such thing.",
    409: "What the question rests on is not known: the API server is not asked, or has not answered yet.",
}
_ABOUT = (
    "What Nodetell knows of a cluster: findings, nodes, what limits the diagnosis. Everything is read; nothing is "
    "changed by any request. Times are ISO 8601 in UTC. Lists come in parts: `next` of an answer is the `cursor` of "
    "the next request. Answers have an ETag. New fields may come in any version; a field never changes its meaning "
    "within /api/v1."
)


def described(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    shapes = [Problem, *(each.shape for each in operations if each.shape is not None)]
    _, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Nodetell", "version": __version__, "description": _ABOUT},
        "servers": [{"url": ".", "description": "Where this description is."}],
        "security": [{"bearer": []}, {"header": []}, {"session": []}, {"certificate": []}, {}],
        "paths": {each.path: {"get": _operation(each)} for each in operations},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An operator's token."},
                "header": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Nodetell-Token",
                    "description": "The same, through proxies that keep Authorization for themselves.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "nodetell_session",
                    "description": "A browser that is logged in.",
                },
                "certificate": {"type": "mutualTLS", "description": "An operator's certificate (tls.client_ca)."},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.description:
        told["description"] = operation.description
    told["parameters"] = [*map(_part, operation.parts), *map(_parameter, operation.parameters)]
    told["responses"] = {"200": _answer(operation), **_failures(operation.failures)}
    return told


def _part(part: PathParameter) -> dict[str, Any]:
    return {
        "name": part.name, "in": "path", "required": True, "description": part.description, "schema": dict(part.schema)
    }  # fmt: skip


def _parameter(parameter: Parameter[Any]) -> dict[str, Any]:
    told = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    return told | ({"required": True} if parameter.needed else {})


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.shape is None:
        return {"description": operation.summary, "content": {operation.media: {"schema": {}}}}
    (schema,), _ = msgspec.json.schema_components([operation.shape], ref_template="#/components/schemas/{name}")
    etag = {"description": "Tag of the answer, for If-None-Match.", "schema": {"type": "string"}}
    return {
        "description": operation.summary,
        "headers": {"ETag": etag},
        "content": {operation.media: {"schema": schema}},
    }


def _failures(more: Iterable[int]) -> dict[str, Any]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = _ALWAYS | {status: _MORE[status] for status in more}
    return {
        str(status): {"description": words} | ({} if status == 304 else {"content": problem})
        for status, words in sorted(every.items())
    }
