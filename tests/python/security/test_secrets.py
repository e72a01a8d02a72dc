"""Tokens, settings, passwords and values are in no log line, exception, metric or other client's frame.

The log is as verbose as possible: every logger at its lowest level, the engine's among them, and asyncio's
debug mode. What an application writes into its own exceptions is its own, and so is what a server logs of its frames at
debug level.
"""

import asyncio
import json
from collections.abc import Iterator

import pytest

from rig.client import ACME, GLOBEX, raw_socket
from rig.lab import Lab
from rig.postgres import Database
from rig.server import serve
from rig.shop import Shop
from rig.wait import until
from rowcast import EventBusConfig, Principal, RowcastError, SubscriptionManager
from rowcast.source import Source
from rowcast.transport.connection import Connection, Headers, Payload

pytestmark = pytest.mark.timeout(120)

PASSWORD = "canary-password"
VERBOSE = {"PYTHONASYNCIODEBUG": "1", "RUST_LOG": "trace", "RUST_BACKTRACE": "1"}

DOCS = """
create table docs (id bigint primary key generated always as identity, body text);
alter table docs enable row level security;
create function judged(body text) returns boolean language plpgsql as $$ begin
    raise notice 'canary-notice %', body;
    raise exception 'canary-message % %', body, current_setting('app.token')
        using detail = 'canary-detail', hint = 'canary-hint', errcode = '22023';
end $$;
create policy judged on docs using (judged(body))
"""
"""A table whose policy raises with all that it was given."""

BROKEN = 'select pg_logical_emit_message(true, \'rowcast.publish\', \'{"topic": "alerts", "canary": "canary-broken\')'


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    """The talkative application, signed in with a password that is not checked."""
    shop = Shop(database).open()
    database.execute(DOCS)
    url = database.url.replace("postgres@", f"postgres:{PASSWORD}@")
    server = serve("rig.secrets_app:app", {"ROWCAST_DATABASE_URL": url} | VERBOSE)
    try:
        server.line("ready ")
        yield Lab(server, shop)
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - pytest shows it beside the failure


ENGINE_LINES = (
    "WARNING:rowcast.engine:ignored a message in the stream: ",
    "WARNING:rowcast.engine.capture:capture interrupted",
    "INFO:rowcast.engine.capture:capture resumed",
    "ERROR:rowcast.engine:the replication stream has failed: ",
    "code=PUBLICATION_MISSING",
)


async def test_no_secret_is_in_the_log_a_metric_or_somebody_elses_frame(lab: Lab) -> None:
    headers = {"X-Secret": "canary-header", "Cookie": "secret=canary-cookie"}
    async with raw_socket(lab.url, additional_headers=headers) as acme, raw_socket(lab.url) as globex:
        for socket, tenant, token in ((acme, ACME, "canary-token"), (globex, GLOBEX, "other")):
            await socket.send({"type": "connection_init", "payload": {"tenant": tenant, "token": token}})
            await socket.receive_type("connection_ack")
            await socket.subscribe("1", "subscription { orders { row { note } } }")
            await socket.subscribe("alerts", "subscription { alerts { payload } }")
            await socket.subscribe("wrong", "subscription { ordersWrong }")
            await socket.subscribe("odd", "subscription { ordersOdd }")
        bad = {"w": {"total": {"eq": "canary-variable"}}}
        await acme.subscribe("bad", "subscription($w: OrdersWhere) { orders(where: $w) { cursor } }", variables=bad)
        await acme.subscribe("worse", "subscription { canary_field }")
        order = await asyncio.to_thread(lab.shop.insert, ACME, note="canary-note")
        await asyncio.to_thread(lab.shop.update, order, note="canary-update")
        await asyncio.to_thread(lab.shop.delete, order)
        lab.shop.database.execute("select rowcast.publish('alerts', '\"canary-payload\"', %s)", ACME)
        await acme.next("alerts")
        for operation in ("wrong", "odd"):
            told = await acme.next(operation)
            assert told["errors"][0]["extensions"]["code"] == "RESOLVER_RESULT_INVALID"
            assert "canary" not in json.dumps(told["errors"])
        await asyncio.to_thread(lab.shop.insert, GLOBEX, note="mine")
        await globex.next("1")
        lab.shop.database.execute(BROKEN)
        await asyncio.to_thread(interrupt, lab.shop.database)
        await asyncio.to_thread(lab.shop.insert, GLOBEX, note="mine")
        await globex.next("1")
        lab.shop.database.execute("drop publication rowcast")
        await asyncio.to_thread(lab.shop.insert, ACME, note="canary-last")
        lost = await globex.receive_type("error", "1")
        assert lost["payload"][0]["extensions"]["code"] == "CAPTURE_FAILED"
        heard = json.dumps(globex.frames)
        assert "canary" not in heard
        assert "127.0.0.1" not in heard, "where the database is concerns no client"
        metrics = json.dumps(lab.metrics())
    lab.server.stop()
    assert "signed in: Connection(" in lab.server.output, "the log is read"
    for line in ENGINE_LINES:
        assert line in lab.server.output, "the engine's lines are among the others"
    assert "canary" not in lab.server.output
    assert "canary" not in metrics


async def test_a_policy_that_raises_with_secrets_is_told_by_its_sqlstate(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        payload = {"tenant": ACME, "token": "canary-token", "role": "pg_read_all_data"}
        await socket.send({"type": "connection_init", "payload": payload})
        await socket.receive_type("connection_ack")
        await socket.subscribe("1", "subscription { docs { row { body } } }")
        listening = asyncio.create_task(socket.receive_type("error", "1"))
        while not listening.done():
            lab.shop.database.execute("insert into docs (body) values ('canary-body')")
            await asyncio.sleep(0.3)
        assert listening.result()["payload"][0]["extensions"]["code"] == "POLICY_FAILED"
        assert "canary" not in json.dumps(socket.frames)
    lab.server.stop()
    assert "WARNING:rowcast.engine:subscriptions end: " in lab.server.output
    assert "SQLSTATE 22023" in lab.server.output
    assert "DEBUG:rowcast.engine.capture:the capture has stopped" in lab.server.output, "the engine hides no level"
    assert "canary" not in lab.server.output


@pytest.mark.parametrize("wrong", ["nul", "list"])
async def test_a_principal_that_cannot_be_made_is_told_without_its_values(lab: Lab, wrong: str) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send({"type": "connection_init", "payload": {"token": "canary-token", wrong: 1}})
        assert await socket.closed() == (4500, "Internal server error")
    lab.server.stop()
    assert "authenticate failed" in lab.server.output
    assert "canary" not in lab.server.output


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:{}@127.0.0.1:1/d",
        "postgresql://u:{}@127.0.0.1:notaport/d",
        "postgresql://u:{}%zz@127.0.0.1/d",
        "postgresql://u:{}@127.0.0.1:1/d?nonsense=1",
        "postgresql://u:{}@[::1/d",
        "postgresql://u:{}",
        "host=127.0.0.1 port=1 password={} user=u",
        "host=127.0.0.1 port=1 password='{} user=u",
        "host=127.0.0.1 password={} nonsense=1",
        "password = {} =",
        "mysql://u:{}@127.0.0.1/d",
        "{}",
    ],
)
async def test_no_exception_shows_the_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    url = url.format(PASSWORD)
    with pytest.raises(RowcastError) as caught:
        await SubscriptionManager(url).start()
    chain: BaseException | None = caught.value
    while chain is not None:
        assert PASSWORD not in str(chain) + repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert PASSWORD not in caplog.text


def test_no_repr_shows_a_credential() -> None:
    url = f"postgresql://u:{PASSWORD}@h/d"
    secret = {"token": PASSWORD}
    shown = [EventBusConfig.postgresql(url), SubscriptionManager(url), Source(url, None, slot="s", publication="p")]
    shown += [Principal(settings={"a.b": PASSWORD}, claims=secret), Payload(secret), Headers(secret.items())]
    shown += [Connection(Headers(secret.items()), secret, Payload(secret), secret)]
    for each in shown:
        assert PASSWORD not in repr(each) + str(each)


def interrupt(database: Database) -> None:
    """End the stream at the server; the engine reconnects by itself."""
    look = "select pg_terminate_backend(active_pid) from pg_replication_slots where database = %s and active"
    until(lambda: database.execute(look, database.name), "the stream to be interrupted")
