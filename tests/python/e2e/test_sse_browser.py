"""A browser's own EventSource, which knows nothing but the URL."""

import json
from collections.abc import Iterator

import pytest

from rig.browser import Page, page
from rig.postgres import Cluster
from rig.shop import ORDERS
from rig.stream import Streams, streaming
from rig.wait import until_async

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

FOLLOW = """(() => {
    window.told = [];
    const source = new EventSource("/graphql?caller=acme&query=" + encodeURIComponent(%s));
    source.addEventListener("next", (event) => told.push([JSON.parse(event.data), event.lastEventId]));
})()"""


@pytest.fixture
def app(newest_postgres: Cluster) -> Iterator[Streams]:
    """The application on a shop of this test's own."""
    with newest_postgres.database() as database, streaming(database) as app:
        yield app


async def told(tab: Page, count: int) -> list[str]:
    """The orders that the page received, once there are this many; errors are skipped."""
    rows = "told.filter(([result]) => result.data)"
    await tab.until(f"{rows}.length >= {count}")
    keys: list[str] = await tab.evaluate(f"{rows}.map(([result]) => result.data.orders.key.id)")
    return keys


async def test_an_event_source_comes_back_by_itself_and_misses_nothing(app: Streams) -> None:
    written = [app.shop.insert()]
    async with page(f"{app.server.url()}/page") as tab:
        await tab.until("document.title === 'stream'")
        await tab.evaluate(FOLLOW % json.dumps(ORDERS))
        await until_async(lambda: app.subscriptions() == 1, "the page to subscribe")
        # Once before its first result and once after it.
        for _ in range(2):
            assert await app.post("/disconnect/acme") == 1
            await until_async(lambda: app.subscriptions() == 0, "the stream to end")
            written += [app.shop.insert() for _ in range(3)]
            assert await told(tab, len(written) - 1) == written[1:], "the first was before the page"
        ids = await tab.evaluate(
            "told.filter(([result]) => result.data).map(([result, id]) => [result.extensions.rowcast.cursor, id])"
        )
        assert all(cursor == last_event_id for cursor, last_event_id in ids)
