"""`select rowcast.publish(…)`: a message belongs to the transaction that published it."""

import pytest

from rig.client import ACME, GLOBEX, signed_in
from rig.lab import Lab

pytestmark = pytest.mark.timeout(120)

ALERTS = "subscription { alerts { payload } }"
PUBLISH = "select rowcast.publish('alerts', %s, tenant => %s)"


async def test_a_published_message_arrives_at_its_tenant_alone(lab: Lab) -> None:
    async with signed_in(lab.url) as acme, signed_in(lab.url, "globex") as globex:
        await acme.subscribe("1", ALERTS)
        await globex.subscribe("1", ALERTS)
        lab.shop.database.execute(PUBLISH, '{"text": "hers"}', ACME)
        lab.shop.database.execute(PUBLISH, '{"text": "his"}', GLOBEX)
        assert (await acme.next("1"))["data"] == {"alerts": {"payload": {"text": "hers"}}}
        assert (await globex.next("1"))["data"] == {"alerts": {"payload": {"text": "his"}}}


async def test_a_message_of_a_rolled_back_transaction_is_never_sent(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ALERTS)
        with lab.shop.database.connect(autocommit=False) as connection:
            connection.execute(PUBLISH, ['{"text": "taken back"}', ACME])
            connection.rollback()
        lab.shop.database.execute(PUBLISH, '{"text": "kept"}', ACME)
        assert (await socket.next("1"))["data"] == {"alerts": {"payload": {"text": "kept"}}}


async def test_messages_keep_the_order_in_which_they_were_published(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ALERTS)
        with lab.shop.database.connect(autocommit=False) as connection:
            for number in range(10):
                connection.execute(PUBLISH, [str(number), ACME])
            connection.commit()
        assert [(await socket.next("1"))["data"]["alerts"]["payload"] for _ in range(10)] == list(range(10))
