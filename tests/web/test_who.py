"""Who may look: certificates, tokens, sessions; and that nobody else learns anything."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.web import login, sessions
from aggregator.web.host import is_own
from aggregator.web.server import make_site
from aggregator.web.sessions import COOKIE
from aggregator.web.tls import Contexts
from tests.aggregator.trust.test_operators import lines
from tests.entrance import Entrance, entrance
from tests.trust import AGENTS, OPERATORS, Authority
from tests.web.site import Answer, Running, bundle, made_up, running

ADA = "system:serviceaccount:ops:ada"
FINDINGS = "/api/v1/findings"
T_ADA, SECRET = "t-ada", "s3cret-of-nobody"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def at_the_door(folder: Path, scene: Callable[[Running, Entrance], Awaitable[None]], **how: Any) -> None:
    """Run a scene at an HTTP server whose operators are those of a real door."""

    async def run() -> None:
        async with entrance(folder, **how) as door:
            assert door.operators is not None
            async with running(bundle(), door.operators, Contexts(door.settings.tls), door.ca.file) as at:
                await scene(at, door)

    asyncio.run(run())


def tokens(folder: Path) -> str:
    file = folder / "tokens"
    file.write_text(lines(("ada", T_ADA)))
    return str(file)


def nobody_s(door: Entrance) -> None:
    """Take all tokens out of the file."""
    Path(door.settings.access.operator_tokens_file).write_text("# nobody\n")


def copy(source: str, target: str) -> None:
    Path(target).write_bytes(Path(source).read_bytes())


def refused(answer: Answer, status: int, detail: str) -> bool:
    """A refusal that says why, in the one shape that all have."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json
    assert (answer.status, told["status"], told["detail"]) == (status, status, detail)
    return True


def test_without_anything_nobody_reads_and_nobody_learns_what_there_is(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:
        nothing = "no operator's certificate is shown, and no token (authorization: Bearer ...)"
        for path in (FINDINGS, "/api/v1/openapi.json", "/api/v1/nothing", "/api/v1/events"):
            answer = await at.get(path)
            assert refused(answer, 401, nothing)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/assets/../api/v1/findings", "/assets/%2e%2e/api/v1/findings", "/assets/x/y", "/login/x"):
            assert (await at.get(path, raw=True)).status == 401
        for shown in ("Basic YWRhOmFkYQ==", "Bearer "):
            assert refused(await at.get(FINDINGS, headers={"Authorization": shown}), 401, nothing)
        for headers in (bearer("guess"), {"X-Nodetell-Token": "guess"}, bearer("x" * 15_000)):
            assert refused(await at.get(FINDINGS, headers=headers), 401, "the token is of no operator")
        assert door.api.asked == []

    at_the_door(tmp_path, scene, api=True)


def test_a_token_of_the_file_reads_in_either_header_until_it_is_taken_out(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:
        for headers in (bearer(T_ADA), {"X-Nodetell-Token": T_ADA}, {"X-Nodetell-Token": T_ADA, "Authorization": "x"}):
            assert (await at.get(FINDINGS, headers=headers)).status == 200
        nobody_s(door)
        assert refused(await at.get(FINDINGS, headers=bearer(T_ADA)), 401, "the token is of no operator")

    at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))


def test_the_api_server_says_whose_token_it_is_and_what_they_may(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:
        token = door.api.token(user=ADA)
        why = f'"{ADA}" may not "get" "findings" of the group "nodetell.dev"'
        assert refused(await at.get(FINDINGS, headers=bearer(token)), 403, why)
        door.api.allowed.add(ADA)
        door.clock.ahead_s = 31  # what was answered is kept for a short while
        assert (await at.get(FINDINGS, headers={"X-Nodetell-Token": token})).status == 200
        door.api.refuse = 500
        door.clock.ahead_s = 62
        answer = await at.get(FINDINGS, headers=bearer(token))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")

    at_the_door(tmp_path, scene, api=True)


def test_an_operator_s_certificate_reads_and_no_other_does(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:
        ada, agent = door.ca.issued("ada", OPERATORS), door.ca.issued("n1", AGENTS)
        assert (await at.get(FINDINGS, ada)).status == 200
        assert (await at.get("/", ada)).status == 200
        reason = "the certificate is of agent n1, not of an operator"
        assert refused(await at.get(FINDINGS, agent, headers=bearer(T_ADA)), 403, reason)
        assert (await at.get(FINDINGS, headers=bearer(T_ADA))).status == 200  # asked for, not demanded
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(aiohttp.ClientError):
            await at.get(FINDINGS, Authority(other).issued("eve", OPERATORS))
        for name in ("eve,O=nodetell:operators", "eve+O=nodetell:operators"):
            answer = await at.get(FINDINGS, door.ca.issued(name, "nobody", file="eve"))
            why = "the subject of the client certificate holds characters that no name here has"
            assert refused(answer, 401, why)

    at_the_door(tmp_path, scene, clients=True, operator_tokens_file=tokens(tmp_path))


def test_tls_is_1_3_and_a_certificate_that_is_replaced_is_shown_to_the_next(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:
        host, _, port = at.address.removeprefix("https://").partition(":")

        async def shown(most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
            context = ssl.create_default_context(cafile=door.ca.file)
            context.maximum_version = most
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
            connection = writer.get_extra_info("ssl_object")
            assert connection.version() == "TLSv1.3"
            writer.close()
            return bytes(connection.getpeercert(binary_form=True))

        before = await shown()
        with pytest.raises(OSError):  # noqa: PT011  # a reset or an alert, as it happens
            await shown(ssl.TLSVersion.TLSv1_2)
        tls = door.settings.tls
        new = door.ca.server(file="renewed")
        copy(new.certificate, tls.certificate)
        assert await shown() == before  # its key is not there yet: the one before stays
        copy(new.key, tls.key)
        assert await shown() not in (before, b"")

    at_the_door(tmp_path, scene, clients=True)


# -- browsers ------------------------------------------------------------------------------------------------------


async def enter(at: Running, token: str, onward: str = "", **headers: str) -> Answer:
    return await at.get("/login", method="POST", data={"token": token, "next": onward}, headers=headers)


def cookie_of(answer: Answer) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]


def with_cookie(name: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={name}"}


def test_a_browser_gets_a_form_and_a_session_that_ends_with_the_token(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:
        first = await at.get("/findings/x?y=z")
        assert (first.status, first.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
        assert 'action="../login"' in first.text
        assert 'name="next" value="findings/x?y=z"' in first.text
        again = await enter(at, SECRET)
        assert (again.status, "Set-Cookie" in again.headers) == (401, False)
        assert "the token is of no operator" in again.text
        assert SECRET not in again.text
        inside = await enter(at, T_ADA, "nodes/n1")
        assert (inside.status, inside.headers["Location"]) == (303, "./nodes/n1")
        parts = {part.strip().partition("=")[0] for part in inside.headers["Set-Cookie"].split(";")[1:]}
        assert parts == {"HttpOnly", "Max-Age", "SameSite", "Secure"}  # no path: below whatever prefix
        assert "SameSite=Strict" in inside.headers["Set-Cookie"]
        name = cookie_of(inside)
        for path, root in (("/", "./"), ("/maps", "./"), ("/nodes/node-1", "../")):
            page = await at.get(path, headers=with_cookie(name))
            assert (page.status, f'<form method="post" action="{root}logout">' in page.text) == (200, True)
        by_token = await at.get("/", headers=bearer(T_ADA))
        assert (by_token.status, "logout" in by_token.text) == (200, False)  # there is nothing to end
        assert (await at.get(FINDINGS, headers=with_cookie(name))).status == 200
        door.clock.ahead_s = 25 * 3600
        over = await at.get("/", headers=with_cookie(name))
        assert over.status == 200  # the session's own clock has not moved: the token of the file still counts
        nobody_s(door)
        out = await at.get("/", headers=with_cookie(name))
        assert (out.status, "the token is of no operator" in out.text) == (401, True)

    at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))


def test_a_session_ends_in_time_and_by_logging_out(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:  # noqa: ARG001  # a scene's
        name = cookie_of(await enter(at, T_ADA))
        left = await at.get("/logout", method="POST", headers=with_cookie(name))
        assert (left.status, left.headers["Location"]) == (303, "./login")
        assert "Max-Age=0" in left.headers["Set-Cookie"]
        over = await at.get(FINDINGS, headers=with_cookie(name))
        assert refused(over, 401, "the session is over: log in again")

    at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))
    now = [100.0]
    kept = sessions.Sessions(lambda: now[0], most=2)
    (first, lasts), (second, _) = kept.begin("a", 130.0), kept.begin("b", None)
    assert (kept.token_of(first), lasts) == ("a", 30.0)
    now[0] = 130.0
    assert (kept.token_of(first), kept.token_of(second), kept.token_of("guess")) == ("", "b", "")
    names = [kept.begin(str(number), None)[0] for number in range(2)]
    assert [kept.token_of(each) for each in (second, *names)] == ["", "0", "1"]  # the oldest goes
    now[0] += sessions.MOST_S
    assert [kept.token_of(each) for each in names] == ["", ""]
    kept.begin("a-token", None)
    assert "a-token" not in repr(kept)


def test_another_site_s_page_logs_nobody_in_or_out(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:  # noqa: ARG001  # a scene's
        host = at.address.removeprefix("https://")
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
        ):
            answer = await enter(at, T_ADA, **headers)
            assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)
            assert (await at.get("/logout", method="POST", headers=headers)).status == 403
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": f"https://{host}"}):
            assert (await enter(at, T_ADA, **headers)).status == 303
        for odd in ("//evil.example", "https://evil.example", "/x", "a/../../x", "a\\b", "x\r\nSet-Cookie: a=b"):
            assert (await enter(at, T_ADA, odd)).headers["Location"] == "./"

    at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))


def test_who_guesses_waits_and_no_token_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(at: Running, door: Entrance) -> None:  # noqa: ARG001  # a scene's
        for _ in range(int(login.GUESSES_AT_ONCE) + 1):
            assert (await enter(at, SECRET)).status == 401
        late = await enter(at, T_ADA)
        assert late.status == 429
        assert 1 <= int(late.headers["Retry-After"]) <= 10
        assert (await at.get(FINDINGS, headers=bearer(T_ADA))).status == 200  # scripts are not held up by it
        assert (await at.get(FINDINGS, headers=bearer(SECRET))).status == 401
        assert (await at.get(FINDINGS, headers=with_cookie(SECRET))).status == 401
        assert (await at.get(FINDINGS, headers={"X-Nodetell-Token": SECRET})).status == 401

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "nodetell.aggregator"):
        at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))
    said = [each.getMessage() for each in caplog.records if "operator_refused" in each.getMessage()]
    assert all(len([each for each in said if f"path={path}" in each]) > 1 for path in ("/login", FINDINGS))
    told = "\n".join(f"{each.getMessage()} {each.exc_text}" for each in caplog.records)
    assert T_ADA not in told
    assert SECRET not in told


def test_what_is_no_form_is_refused(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:  # noqa: ARG001  # a scene's
        odd = await at.get("/login", method="POST", json={"token": T_ADA})
        assert odd.status == 415
        long = await at.get("/login", method="POST", data={"token": "x" * 40_000})
        assert long.status == 413
        file = aiohttp.FormData({"token": T_ADA})
        assert (await at.get("/login", method="POST", data=file)).status == 303

    at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))


# -- nobody is asked -------------------------------------------------------------------------------------------------


def test_without_trust_only_this_host_s_own_names_are_answered_to() -> None:
    async def scene() -> None:
        async with running(made_up([])) as at:
            port = at.address.rpartition(":")[2]
            for own in (f"127.0.0.1:{port}", "localhost", "LOCALHOST.:1", "[::1]:80", "127.8.8.8"):
                assert (await at.get(FINDINGS, headers={"Host": own})).status == 200
            for other in ("evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "", "[::2]"):
                answer = await at.get(FINDINGS, headers={"Host": other})
                assert answer.status in (400, 421), other
            assert (await at.get("/login")).status == 404

    asyncio.run(scene())
    assert not is_own("[evil]:80")


def test_every_answer_forbids_a_browser_what_the_page_does_not_need(tmp_path: Path) -> None:
    async def scene(at: Running, door: Entrance) -> None:  # noqa: ARG001  # a scene's
        for path, headers in (("/", {}), ("/login", {}), (FINDINGS, bearer(T_ADA)), ("/nothing", bearer(T_ADA))):
            answer = await at.get(path, headers=headers)
            policy = answer.headers["Content-Security-Policy"].split("; ")
            assert "default-src 'none'" in policy
            assert not [each for each in policy if "unsafe" in each or "http" in each or "*" in each]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.headers["Server"] == "nodetell"
            assert "private" in answer.headers["Cache-Control"]

    at_the_door(tmp_path, scene, api=True, operator_tokens_file=tokens(tmp_path))


def test_the_api_alone_has_no_page() -> None:
    async def scene() -> None:
        async with running(made_up([]), page=False) as at:
            assert (await at.get("/")).status == 404
            assert (await at.get(FINDINGS)).status == 200

    asyncio.run(scene())
    assert make_site(made_up([]), None).app is not None
