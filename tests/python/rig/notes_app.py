"""The application of the row policies' tests: notes that belong to their owners, on FastAPI, as a user would write it.

`GET /token/ann` signs in: the token names the user, how often that user was revoked before, and its expiry if any.
`POST /revoke/ann` invalidates all earlier tokens of the user and closes its sockets. FastAPI runs these plain
functions in threads.
"""

import json
import os
import time
from collections import Counter
from typing import Any

from fastapi import FastAPI

from rowcast import Connection, Forbidden, Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

ROLE = os.environ["NOTES_ROLE"]
"""The database role of all users."""

manager = SubscriptionManager(
    service="notes",
    limits=json.loads(os.environ.get("NOTES_LIMITS", "{}")),
    auto_migrate="NOTES_MIGRATED" not in os.environ,
)
manager.subscription("notes")

revocations: Counter[str] = Counter()


async def authenticate(connection: Connection) -> Principal:
    """The principal of the token in the connection_init message, or in a gateway's HTTP request."""
    bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
    claims: dict[str, Any] = json.loads(connection.payload.get("token") or bearer or "{}")
    user = claims.get("user")
    if not user or claims["revocations"] != revocations[user]:
        raise Forbidden
    return Principal(user_id=user, role=ROLE, settings={"app.user": user}, expires_at=claims["expires_at"])


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/token/{user}")
def token(user: str, seconds: float | None = None) -> str:
    """A token that is valid now, for this long."""
    expires_at = None if seconds is None else time.time() + seconds
    return json.dumps({"user": user, "revocations": revocations[user], "expires_at": expires_at})


@app.post("/revoke/{user}")
async def revoke(user: str) -> int:
    """How many sockets of the user were closed."""
    revocations[user] += 1
    return await manager.revoke(user_id=user)


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()
