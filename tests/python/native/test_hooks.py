"""The authenticate hook on real sockets: every way in which it ends is an answer."""

import asyncio
import threading
import time

import pytest
from serving import manager, on_fastapi, peer, served, until

from rowcast import (
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
