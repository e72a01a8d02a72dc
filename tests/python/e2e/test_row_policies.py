"""Row policies, revocation and rates over the network, with stock clients that know nothing of them."""

import asyncio
import itertools
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

from rig.client import PATIENCE, Socket, raw_socket, signed_in
from rig.notebook import COMPILED, DELEGATED, NOTES, RAISING, Notebook, notebook
from rig.postgres import Database
from rig.server import CAPTURE, ROOT, Server
from rig.wait import until, until_async
from rowcast import SubscriptionManager

pytestmark = pytest.mark.timeout(120)

Told = tuple[str, str, Any]


@pytest.fixture
def notes(database: Database) -> Iterator[Notebook]:
    """A server of this test's own."""
    with notebook(database) as notes:
        yield notes


@asynccontextmanager
async def following(notes: Notebook, user: str) -> AsyncIterator["asyncio.Queue[Told]"]:
    """Transition, key and text of each event that stock `gql` receives, once its subscription is live."""
    told: asyncio.Queue[Told] = asyncio.Queue()
    before = notes.metrics()["subscriptions"]
    transport = WebsocketsTransport(url=f"{notes.url}/graphql", init_payload={"token": notes.token(user)})
    async with Client(transport=transport) as session:

        async def follow() -> None:
            async for result in session.subscribe(gql(NOTES)):
                event = result["notes"]
                told.put_nowait((event["transition"], event["key"]["id"], event["row"] and event["row"]["text"]))

        reading = asyncio.create_task(follow())
        await until_async(lambda: notes.metrics()["subscriptions"] > before, "the subscription")
        yield told
        reading.cancel()


async def take(told: "asyncio.Queue[Told]", count: int) -> list[Told]:
    return [await asyncio.wait_for(told.get(), 15) for _ in range(count)]


@asynccontextmanager
async def subscribed(notes: Notebook, user: str, seconds: float | None = None) -> AsyncIterator[Socket]:
    async with signed_in(notes.url, notes.token(user, seconds)) as socket:
        await socket.subscribe("1", NOTES)
        yield socket


async def keys(socket: Socket, count: int) -> list[str]:
    return [(await socket.next("1"))["data"]["notes"]["key"]["id"] for _ in range(count)]


async def is_told(socket: Socket, note: str) -> bool:
    """Whether this note comes next."""
    return await keys(socket, 1) == [note]


async def attempt(notes: Notebook, socket: Socket, operation: str) -> dict[str, Any]:
    """The extensions of the error that refuses a new subscription; ``{}`` when it is admitted."""
    before = notes.metrics()["subscriptions"]
    await socket.subscribe(operation, NOTES)
    while not socket.of(operation) and notes.metrics()["subscriptions"] == before:
        await socket.fence(operation)
    errors = socket.of(operation)
    extensions: dict[str, Any] = errors[0]["payload"][0]["extensions"] if errors else {}
    return extensions


async def admitted(notes: Notebook, socket: Socket) -> str:
    """The id of a subscription that was admitted after all."""
    deadline = time.monotonic() + PATIENCE
    for number in itertools.count():
        operation = f"attempt {number}"
        if not await attempt(notes, socket, operation):
            break
        assert time.monotonic() < deadline, socket.of(operation)
    return operation


async def refusal(socket: Socket) -> str:
    """The code of the error that ends a live subscription."""
    message = await socket.receive_type("error", "1")
    code: str = message["payload"][0]["extensions"]["code"]
    return code


@pytest.mark.parametrize("policy", [COMPILED, DELEGATED], ids=["compiled", "delegated"])
async def test_each_user_sees_its_own_rows_alone_and_those_that_move_away_leave_by_key(
    database: Database, policy: str
) -> None:
    with notebook(database, policy) as notes:
        async with following(notes, "ann") as ann, following(notes, "bob") as bob:
            first, second = notes.write("ann", "hers"), notes.write("bob", "his")
            notes.write("nobody", "whose?")
            notes.give(first, "bob")
            last = [notes.write(user, "last") for user in ("ann", "bob")]
            assert await take(ann, 3) == [("ENTER", first, "hers"), ("LEAVE", first, None), ("ENTER", last[0], "last")]
            assert await take(bob, 3) == [
                ("ENTER", second, "his"),
                ("ENTER", first, "hers"),
                ("ENTER", last[1], "last"),
            ]
        assert (notes.metrics()["policy_delegated_total"] > 0) == (policy == DELEGATED)


async def test_an_engine_that_may_little_asks_as_the_roles_that_it_was_given(database: Database) -> None:
    engine = f"engine_{uuid4().hex}"
    database.execute(f"create role {engine} login replication")
    await SubscriptionManager(database.url).migrate()
    database.execute(f"select rowcast.grant_engine('{engine}')")
    if CAPTURE == "outbox":
        database.execute("select rowcast.start_outbox()")
    url = database.url.replace("postgres@", f"{engine}@")
    try:
        with notebook(database, DELEGATED, url, watched=True, NOTES_MIGRATED="yes") as notes:
            async with signed_in(notes.url, notes.token("ann")) as socket:
                assert (await attempt(notes, socket, "0"))["code"] == "ROLE_NOT_SETTABLE"
                database.execute(f"grant {notes.role} to {engine}")
                operation = await admitted(notes, socket)
                note = notes.write("ann")
                assert (await socket.next(operation))["data"]["notes"]["key"] == {"id": note}
    finally:
        database.execute(f"drop owned by {engine}; drop role {engine}")


async def test_a_changed_policy_holds_from_its_place_in_the_stream(notes: Notebook) -> None:
    async with subscribed(notes, "ann") as ann, subscribed(notes, "bob") as bob:
        before = notes.write("ann")
        notes.database.execute("alter policy own on notes using (owner = 'bob')")
        notes.write("ann")
        after = notes.write("bob")
        assert await keys(ann, 2) == [before, after]
        notes.database.execute("drop policy own on notes")
        notes.write("bob")
        # A stream that lags reads the newest catalog, so it must get this far before the next change.
        await until_async(lambda: notes.metrics()["events_total"] == 4, "the note that is delivered to no subscriber")
        notes.database.execute(f"create policy everybody on notes to {notes.role} using (true)")
        last = notes.write("nobody")
        assert await keys(ann, 1) == [last]
        assert await keys(bob, 2) == [after, last]


async def test_a_right_that_was_taken_ends_what_needs_it(notes: Notebook) -> None:
    async with subscribed(notes, "ann") as socket:
        assert await is_told(socket, notes.write("ann"))
        notes.database.execute(f"revoke select (text) on notes from {notes.role}")  # noqa: S608
        assert await refusal(socket) == "COLUMN_FORBIDDEN"
        notes.database.execute(f"revoke select (id, owner) on notes from {notes.role}")  # noqa: S608
        await socket.subscribe("2", "subscription { notes { key { id } } }")
        assert (await socket.error("2"))[0]["extensions"]["code"] == "TABLE_FORBIDDEN"


async def test_a_membership_that_ends_is_noticed_though_no_message_tells_of_it(notes: Notebook) -> None:
    team, database = f"{notes.role}_team", notes.database
    database.execute(f"create role {team}; grant {team} to {notes.role}")
    try:
        database.execute(f"create policy team on notes to {team} using (owner = 'team')")
        async with subscribed(notes, "ann") as socket:

            async def sees_the_teams() -> bool:
                note, own = notes.write("team"), notes.write("ann")
                told = await keys(socket, 1)
                return told == [note] and await keys(socket, 1) == [own]

            assert await sees_the_teams()
            database.execute(f"revoke {team} from {notes.role}")
            deadline = time.monotonic() + PATIENCE
            while await sees_the_teams():
                assert time.monotonic() < deadline, "the membership is still in force"
            assert not await sees_the_teams(), "it does not come back"
    finally:
        database.execute(f"drop owned by {team}; drop role {team}")


async def test_a_column_that_was_not_granted_is_refused_by_name(notes: Notebook) -> None:
    async with signed_in(notes.url, notes.token("ann")) as socket:
        await socket.subscribe("1", "subscription { notes { row { secret } } }")
        error = (await socket.error("1"))[0]
        assert error["extensions"]["code"] == "COLUMN_FORBIDDEN"
        assert "secret" in error["message"]


async def test_revoke_closes_the_sockets_of_one_user_and_an_old_token_opens_none(notes: Notebook) -> None:
    old = notes.token("ann")
    async with subscribed(notes, "ann") as ann, subscribed(notes, "bob") as bob:
        assert await asyncio.to_thread(notes.revoke, "ann") == 1
        assert await ann.closed() == (4403, "Forbidden: credentials revoked")
        assert await is_told(bob, notes.write("bob"))
    async with raw_socket(notes.url) as socket:
        await socket.send({"type": "connection_init", "payload": {"token": old}})
        assert (await socket.closed())[0] == 4403


async def test_a_token_that_ends_closes_its_socket(notes: Notebook) -> None:
    async with subscribed(notes, "ann", seconds=1.5) as ann, subscribed(notes, "bob", seconds=3600) as bob:
        assert (await ann.closed())[0] == 4403
        assert await is_told(bob, notes.write("bob"))


@contextmanager
def graphql_ws(notes: Notebook, user: str, query: str = "") -> Iterator[Server]:
    """The stock npm client in a process of its own."""
    script = ROOT / "tests" / "clients" / "returning.mjs"
    node = shutil.which("node")
    if node is None or not (script.parent / "node_modules").exists():
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("npm's graphql-ws is not installed (npm ci --prefix tests/clients)")
    http = notes.server.url()
    client = Server([node, str(script), f"{notes.url}/graphql", f"{http}/token/{user}{query}", NOTES])
    try:
        yield client
    finally:
        client.stop()
        print(client.output)  # noqa: T201 - what pytest captures, it shows beside the failure


def said(client: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.output.splitlines()]


def is_subscribed(notes: Notebook) -> Callable[[], bool]:
    return lambda: notes.metrics()["subscriptions"] == 1


def has_said(client: Server, note: str) -> Callable[[], bool]:
    return lambda: any(what.get("data", {}).get("notes", {}).get("key") == {"id": note} for what in said(client))


def test_npm_graphql_ws_comes_back_with_a_fresh_token_after_a_revocation(notes: Notebook) -> None:
    with graphql_ws(notes, "ann") as client:
        until(is_subscribed(notes), "the subscription")
        until(has_said(client, notes.write("ann")), "a note")
        assert notes.revoke("ann") == 1
        until(lambda: {"closed": 4403} in said(client), "the close")
        until(is_subscribed(notes), "the subscription again")
        notes.write("bob")
        until(has_said(client, notes.write("ann", "again")), "a note on the new socket")
        connections = [what for what in said(client) if "data" not in what]
        assert connections == [{"connected": True}, {"closed": 4403}, {"connected": True}]
        assert not any("bob" in str(what) for what in said(client))


def test_npm_graphql_ws_comes_back_with_a_fresh_token_when_its_own_has_ended(notes: Notebook) -> None:
    with graphql_ws(notes, "ann", "?seconds=2") as client:
        until(is_subscribed(notes), "the subscription")
        until(lambda: said(client).count({"closed": 4403}) >= 2, "two closes")
        # Tokens keep expiring here, and notes committed between two sockets are not delivered.
        until(lambda: notes.write("ann") and "data" in said(client)[-1], "a note on a later socket")
        assert not any("error" in what or "complete" in what for what in said(client))


async def test_too_many_subscriptions_at_once_are_refused_with_the_wait_and_the_socket_goes_on(
    database: Database,
) -> None:
    limits = json.dumps({"subscribes": {"per_s": 0.5, "burst": 2}})
    with notebook(database, NOTES_LIMITS=limits) as notes:
        async with subscribed(notes, "ann") as ann:
            refusals = [await attempt(notes, ann, f"eager {number}") for number in range(4)]
            assert all(each["code"] == "RATE_LIMITED" and 1 <= each["retryAfter"] <= 2 for each in refusals if each)
            assert refusals[-1]
            async with subscribed(notes, "bob") as bob:
                assert await is_told(bob, notes.write("bob")), "one limit for each principal"
            assert await is_told(ann, notes.write("ann")), "live subscriptions continue"
            operation = await admitted(notes, ann)
            note = notes.write("ann")
            assert (await ann.next(operation))["data"]["notes"]["key"] == {"id": note}, "later there is room again"


async def test_who_needs_postgresql_too_often_is_refused_with_the_wait_and_compiled_policies_are_not_meant(
    database: Database,
) -> None:
    limits = json.dumps({"delegated": {"per_s": 0.5, "burst": 2}})
    with notebook(database, DELEGATED, NOTES_LIMITS=limits) as notes:
        async with subscribed(notes, "ann") as ann:
            refusals = [await attempt(notes, ann, f"eager {number}") for number in range(4)]
            assert all(each["code"] == "RATE_LIMITED" and 1 <= each["retryAfter"] <= 2 for each in refusals if each)
            assert refusals[-1]
            async with subscribed(notes, "bob") as bob:
                assert await is_told(bob, notes.write("bob")), "one limit for each principal"
            assert await is_told(ann, notes.write("ann")), "live subscriptions continue"
            database.execute(f"alter policy own on notes using ({COMPILED})")
            assert await is_told(ann, notes.write("ann")), "the stream has come past the compiled policy"
            assert not any([await attempt(notes, ann, f"compiled {number}") for number in range(4)])


async def test_a_policy_that_goes_on_raising_ends_its_subscriptions_with_the_reason(database: Database) -> None:
    with notebook(database, RAISING) as notes:
        async with subscribed(notes, "ann") as ann:
            writing = asyncio.create_task(write_on(notes, "ann"))
            try:
                message = await ann.receive_type("error", "1")
            finally:
                writing.cancel()
            error = message["payload"][0]
            assert error["extensions"]["code"] == "POLICY_FAILED"
            assert "SQLSTATE" not in error["message"], "what the server says is the operator's"
            until(lambda: "SQLSTATE 22P02" in notes.server.output, "the reason in the log")
            assert not [frame for frame in ann.of("1") if frame["type"] == "next"]
            database.execute(f"alter policy own on notes using ({DELEGATED})")
            operation = await admitted(notes, ann)
            note = notes.write("ann", "last")
            while (told := (await ann.next(operation))["data"]["notes"])["key"] != {"id": note}:
                assert told["row"]["owner"] == "ann"


async def write_on(notes: Notebook, owner: str) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.to_thread(notes.write, owner)
        await asyncio.sleep(0.1)


async def test_an_address_that_connects_too_often_is_told_to_come_later(database: Database) -> None:
    limits = json.dumps({"connects": {"per_s": 0.001, "burst": 2}})
    with notebook(database, NOTES_LIMITS=limits) as notes:
        async with subscribed(notes, "ann") as ann, subscribed(notes, "bob"), raw_socket(notes.url) as late:
            code, reason = await late.closed()
            assert (code, reason.startswith("RATE_LIMITED: try again in ")) == (1013, True)
            assert await is_told(ann, notes.write("ann"))


def test_a_gateway_gets_rows_by_key_as_whoever_asks(notes: Notebook) -> None:
    hers, his = notes.write("ann", "hers"), notes.write("bob", "his")
    ann, bob = notes.token("ann"), notes.token("bob")
    assert notes.by_key(ann, his, hers, "77") == [None, {"id": hers, "owner": "ann", "text": "hers"}, None]
    assert notes.by_key(bob, his, hers) == [{"id": his, "owner": "bob", "text": "his"}, None]
