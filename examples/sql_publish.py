"""Publishing from SQL, inside the caller's transaction: committed means sent, rolled back means never sent.

Run:        python sql_publish.py   (pip install 'rowcast[embedded]' psycopg; or set ROWCAST_DATABASE_URL)

The two statements are all there is to it::

    select rowcast.watch('public.orders', tenant_column => 'tenant_id');
    select rowcast.publish('alerts', '{"text": "hello"}', tenant => 'acme');
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import psycopg

from rowcast import Event, Principal, SubscriptionManager

manager = SubscriptionManager()


@dataclass
class Alert:
    """What subscribers of the field `alerts` get."""

    text: str


@manager.subscription(topic="alerts")
async def alerts(event: Event, variables: dict[str, Any]) -> Alert:
    """The payload as the publisher wrote it."""
    return Alert(text=event.payload["text"])


async def main() -> None:
    """Subscribe in this process, publish twice from SQL, see one of the two arrive."""
    async with manager:
        engine = manager.executor
        engine.register("demo", "subscription { alerts { text } }", principal=Principal("me", tenant_id="acme"))
        await asyncio.to_thread(publish, "never seen", commit=False)
        await asyncio.to_thread(publish, "hello", commit=True)
        response = await asyncio.to_thread(engine.next_event, "demo", 5.0)
        print(json.loads(response or b"null"))


def publish(text: str, *, commit: bool) -> None:
    """Call the SQL function in a transaction, and end that one way or the other."""
    with psycopg.connect(manager.database_url or "") as connection:
        connection.execute(
            "select rowcast.publish('alerts', %s::jsonb, tenant => 'acme')", (json.dumps({"text": text}),)
        )
        if not commit:
            connection.rollback()


if __name__ == "__main__":
    asyncio.run(main())
