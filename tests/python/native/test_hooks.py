"""The authenticate hook on real sockets: the client gets an answer however the hook ends."""

import asyncio
import threading
import time

import httpx
import pytest
from fastapi import HTTPException, WebSocketException
from serving import MOUNTS, manager, on_fastapi, peer, served, until

from rowcast import (
    ConfigurationError,
    Forbidden,
    Principal,
)

pytestmark = pytest.mark.timeout(60)


def test_every_way_in_which_the_hook_ends_is_an_answer_and_hides_its_words(run, caplog):
    async def work():
        live = manager()
        raised = {"forbid": Forbidden("nope"), "raise": ValueError("secret"), "cancel": asyncio.CancelledError()}

        async def authenticate(connection):
            what = connection.payload["what"]
            if what in raised:
                raise raised[what]
            await asyncio.sleep({"slow": 0.3, "hang": 100}.get(what, 0))
            return {"none": None, "claims": Principal(claims={"x": float("nan")})}.get(what, Principal())

        async with served(on_fastapi(live, authenticate)) as url:

            async def end(payload):
                async with peer(url) as client:
                    await client.init(payload)
                    return await client.closed()

            hidden = (4500, "Internal server error")
            assert await end({"what": "forbid"}) == (4403, "Forbidden")
            assert await end({}) == (4403, "Forbidden")
            for what in ("raise", "cancel", "claims", "none"):
                assert await end({"what": what}) == hidden
            async with peer(url) as client:
                await client.init({"what": "slow"})
                await client.send(type="ping")
                assert await client.receive() == {"type": "pong"}
                await client.init({"what": "slow"})
                assert await client.closed() == (4429, "Too many initialisation requests")
            async with peer(url) as client:
                await client.init({"what": "hang"})
            await until(lambda: live.executor.metrics()["sessions"] == 0, "the session of a client that left")
        assert "secret" in caplog.text

    run(work)


def test_a_plain_hook_runs_in_a_thread_and_origins_are_checked(run):
    async def work():
        def authenticate(_connection):
            assert threading.current_thread() is not threading.main_thread()
            return Principal()

        async with served(on_fastapi(manager(), authenticate, allowed_origins=["https://a"])) as url:
            async with peer(url, origin="https://a") as client:
                await client.enter()
            async with peer(url) as client:
                await client.enter()
            async with peer(url, origin="https://b") as client:
                assert await client.closed() == (4403, "Forbidden")

    run(work)


def test_a_socket_closes_with_4403_when_its_principal_expires(run):
    async def work():
        async def authenticate(_connection):
            return Principal(expires_at=time.time() + 0.3)

        live = manager()
        async with served(on_fastapi(live, authenticate)) as url, peer(url) as client:
            await client.enter()
            assert (await client.closed())[0] == 4403
            await until(lambda: live.executor.metrics()["sessions"] == 0, "the session to end")

    run(work)


class Hook:
    """A hook as a callable object."""

    async def __call__(self, connection):
        return Principal()

    def too_many(self, connection, request):
        return Principal()


def generator(connection):
    yield Principal()


@MOUNTS
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: None,
        lambda request, connection: None,
        Hook().too_many,
        generator,
        Principal(),
        "authenticate",
    ],
    ids=["no argument", "two arguments", "method", "generator", "a principal", "a name"],
)
def test_a_hook_that_cannot_be_called_is_refused_where_it_is_mounted(mount, wrong):
    with pytest.raises(ConfigurationError, match="Connection") as refused:
        mount(manager(), wrong)
    assert refused.value.code == "AUTHENTICATE_INVALID"


@MOUNTS
@pytest.mark.parametrize("right", [Hook(), lambda *_: Principal(), lambda connection, cache=None: Principal()])
def test_whatever_takes_one_argument_is_a_hook(mount, right):
    mount(manager(), right)


QUERIES = ["{ rowcast { version } }", "{ __schema { types { name } } }", "{ nothing }", "{ __typename }"]


@MOUNTS
def test_over_http_the_hook_is_asked_before_anything_of_the_schema_is_told(run, mount):
    async def work():
        refusals = {"forbid": Forbidden("no"), "401": HTTPException(401), "403": HTTPException(403, "no")}

        async def authenticate(connection):
            who = connection.headers.get("authorization", "forbid")
            if who in refusals:
                raise refusals[who]
            return Principal(user_id=who)

        async with served(mount(manager(), authenticate)) as url, httpx.AsyncClient() as http:
            for query in QUERIES:
                for who in refusals:
                    answer = await http.post(f"http://{url}", json={"query": query}, headers={"authorization": who})
                    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (403, "Forbidden"), query
                assert (await http.get(f"http://{url}", params={"query": query})).status_code == 403
                answer = await http.post(f"http://{url}", json={"query": query}, headers={"authorization": "ann"})
                assert answer.status_code == 200, query

    run(work)


def test_the_schema_may_be_opened_to_the_public(run):
    async def work():
        def authenticate(connection):
            raise Forbidden

        live = manager(public_introspection=True)
        async with served(on_fastapi(live, authenticate)) as url, httpx.AsyncClient() as http:
            for query in QUERIES:
                assert (await http.post(f"http://{url}", json={"query": query})).status_code == 200, query

    run(work)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HTTPException(401), 4403),
        (HTTPException(403), 4403),
        (WebSocketException(1008), 4403),
        (HTTPException(404), 4500),
        (WebSocketException(1011), 4500),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
def test_what_fastapi_users_raise_to_refuse_is_a_refusal(run, error, code, is_async):
    async def work():
        def plain(_connection):
            raise error

        async def hook(connection):
            plain(connection)

        async with served(on_fastapi(manager(), hook if is_async else plain)) as url, peer(url) as client:
            await client.init({})
            assert (await client.closed())[0] == code

    run(work)
