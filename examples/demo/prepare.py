"""What an administrator does once for an application: tables, the schema ``rowcast``, and a role for the engine.

The role owns nothing and is not a superuser. It may read the stream and rowcast's tables. Because the demo's users have
no database roles of their own, it may also read ``orders``, for their snapshots.
"""

import os
import secrets

import psycopg
import writer
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from rowcast import EventBusConfig, SubscriptionExecutor

ENGINE = "rowcast_engine"


def make_table(url: str) -> None:
    """Create the table that is written and watched, unless it exists."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(writer.TABLE)


def make_engine(url: str) -> str:
    """Migrate, watch the table and make the engine's role; returns its connection string, with a new password."""
    SubscriptionExecutor(EventBusConfig.postgresql(url)).migrate()
    password = secrets.token_urlsafe(24)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select rowcast.watch('orders', tenant_column => 'tenant_id')")
        if os.environ.get("ROWCAST_CAPTURE") == "outbox":
            connection.execute("select rowcast.start_outbox()")  # its triggers are made by the table's owner
        known = connection.execute("select from pg_roles where rolname = %s", [ENGINE]).fetchone()
        role = SQL("{} role {} login replication password {}").format(
            SQL("create" if known is None else "alter"), Identifier(ENGINE), Literal(password)
        )
        connection.execute(role)
        connection.execute("select rowcast.grant_engine(%s::regrole)", [ENGINE])
        connection.execute(SQL("grant select on orders to {}").format(Identifier(ENGINE)))
    return make_conninfo(url, user=ENGINE, password=password)
