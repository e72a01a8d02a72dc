"""The response to an HTTP request when a revoke or a disconnect happens while its ``authenticate`` runs."""

import asyncio

import httpx
import pytest
from serving import manager, on_fastapi, served

from rowcast import Principal

pytestmark = pytest.mark.timeout(60)

EVENTS = {"accept": "text/event-stream"}
QUERY = {"query": "subscription { alerts { payload } }"}


class Hook:
    """An ``authenticate`` hook that waits until the test lets it continue."""

    def __init__(self):
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, connection):
        self.asked.set()
        await self.go_on.wait()
        return Principal(user_id="7")


async def during_the_hook(act, **request):
    """The responses to a request while ``act`` happens during its hook, and to the same request afterwards."""
    live, hook = manager(), Hook()
    live.subscription(topic="alerts", public=True)
    async with served(on_fastapi(live, hook)) as url, httpx.AsyncClient() as http:
        first = asyncio.ensure_future(http.request(url=f"http://{url}", **request))
        await hook.asked.wait()
        await act(live)
        hook.go_on.set()
        answer = await first
        async with http.stream(url=f"http://{url}", **request) as again:
            return answer, again.status_code


REQUESTS = pytest.mark.parametrize(
    ("request_", "admitted"),
    [
        ({"method": "POST", "json": QUERY, "headers": EVENTS}, 200),
        ({"method": "GET", "params": QUERY, "headers": EVENTS}, 200),
        ({"method": "PUT"}, 201),
    ],
    ids=["post", "get", "reservation"],
)


@REQUESTS
async def test_a_stream_whose_hook_answers_after_the_revoke_is_forbidden(request_, admitted):
    answer, again = await during_the_hook(lambda live: live.revoke(user_id="7"), **request_)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
    assert again == admitted, "a hook that runs afterwards decides again"


@REQUESTS
async def test_a_stream_whose_hook_answers_after_a_disconnect_is_asked_to_come_again(request_, admitted):
    answer, again = await during_the_hook(lambda live: live.disconnect(user_id="7"), **request_)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (503, "OVERLOADED")
    assert again == admitted
