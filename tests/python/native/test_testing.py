"""`rowcast.testing` keeps its promises: what it reports to a test is what the engine does."""

import asyncio
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest

from rowcast import ConfigurationError, NotStarted, RequestRefused, SubscriptionEnded, SubscriptionManager, subscription
from rowcast.testing import (
    Clock,
    ConnectionClosed,
    MemoryManager,
    NoEvent,
    PoliciesMissing,
    Policy,
    ResultError,
    Table,
    Unsettled,
    delete,
    enum,
    insert,
    truncate,
    update,
)

ORDERS = Table(
    "orders", id="bigint", tenant_id="text", status="text", total="numeric", key="id", required=["tenant_id"]
)
ALL = "subscription { orders { operation transition changed row { id status total } key { id } committedAt } }"


def shop(*subscriptions, tables=(ORDERS,), **settings):
    declared = subscriptions or [subscription("orders", tenant="tenant_id")]
    return MemoryManager(tables=tables, subscriptions=declared, **settings)


def row(number, status="open", tenant="acme", total="1.50"):
    return {"id": number, "tenant_id": tenant, "status": status, "total": Decimal(total)}


# Delivered events


async def test_a_change_is_matched_gated_and_written_by_the_engine():
    async with shop() as manager:
        orders = (await manager.client(tenant_id="acme")).subscribe(ALL)
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        emitted = manager.emit("orders", "INSERT", new=row(2**60, total="10.500"), committed_at=at)
        received = await orders.next()
    assert received.value == {
        "operation": "INSERT",
        "transition": "ENTER",
        "changed": [],
        "row": {"id": str(2**60), "status": "open", "total": "10.500"},
        "key": {"id": str(2**60)},
        "committedAt": "2026-01-02T03:04:05.000000+00:00",
    }
    assert (received.cursor, received.operation, received.committed_at) == (emitted.cursor, "INSERT", at)


async def test_filters_decide_by_the_old_and_the_new_row():
    async with shop() as manager:
        client = await manager.client(tenant_id="acme")
        opened = client.subscribe('subscription { orders(where: {status: {eq: "open"}}) { transition row { id } } }')
        manager.emit("orders", "INSERT", new=row(1, "paid"))
        await opened.assert_no_event()
        manager.emit("orders", "UPDATE", old={"status": "paid"}, new=row(1, "open"))
        manager.emit("orders", "UPDATE", old={"status": "open"}, new=row(1, "paid"))
        manager.emit("orders", "DELETE", old=row(1, "paid"))
        manager.emit("orders", "TRUNCATE")
        told = [(await opened.next()).value["transition"] for _ in range(3)]
        assert told == ["ENTER", "LEAVE", "LEAVE"]
        await opened.assert_no_event()


async def test_an_iteration_ends_when_the_client_completes():
    async with shop() as manager:
        orders = (await manager.client(tenant_id="acme")).subscribe(ALL)
        manager.commit(*(insert("orders", row(number)) for number in range(3)))
        seen = []
        async for received in orders:
            seen.append(received.value["row"]["id"])
            if len(seen) == 3:
                orders.complete()
        manager.emit("orders", "INSERT", new=row(9))
        assert seen == ["0", "1", "2"]
        with pytest.raises(SubscriptionEnded) as ended:
            await orders.next()
        assert ended.value.code == "COMPLETED"


async def test_one_commit_is_one_transaction():
    async with shop(subscription("orders", tenant="tenant_id", transactions=True)) as manager:
        orders = (await manager.client(tenant_id="acme")).subscribe(
            "subscription { orders { begin changes { row { status } } end } }"
        )
        told = manager.commit(
            insert("orders", row(1)), update("orders", old=row(1), new=row(1, "paid")), delete("orders", row(1, "paid"))
        )
        value = (await orders.next()).value
        assert (value["begin"], value["end"]) == (True, True)
        assert [each["row"] and each["row"]["status"] for each in value["changes"]] == ["open", "paid", None]
        assert len({each.cursor for each in told}) == 3
        manager.commit(truncate("orders"))
        assert len((await orders.next()).value["changes"]) == 1


async def test_a_topic_is_told_of_its_messages():
    async with shop(subscription(topic="alerts", public=True)) as manager:
        alerts = (await manager.client()).subscribe("subscription { alerts { payload } }")
        emitted = manager.message("alerts", {"level": 3})
        await manager.publish("alerts", [1])
        received = await alerts.next()
        assert (received.value["payload"], received.cursor, received.operation) == (
            {"level": 3},
            emitted.cursor,
            "MESSAGE",
        )
        assert (await alerts.next()).value == {"payload": [1]}


async def test_a_resolver_is_called_with_pythons_own_values():
    class State(Enum):
        OPEN = "open"

    seen = []

    @subscription("things", public=True)
    async def things(event, variables) -> dict:
        seen.append(event.row)
        return event.row

    columns = {
        "id": "uuid", "flag": "boolean", "n": "integer", "ratio": "float8", "price": "numeric(10,2)",
        "at": "timestamptz", "local": "timestamp", "day": "date", "clock": "time", "data": "bytea", "doc": "jsonb",
        "tags": "text[]", "state": enum("state", "open", "paid"), "nothing": "text",
    }  # fmt: skip
    given = {
        "id": UUID(int=7), "flag": True, "n": -5, "ratio": 0.1, "price": Decimal("9.50"),
        "at": datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=timezone(timedelta(hours=2))),
        "local": datetime(2026, 3, 1, 12),  # noqa: DTZ001
        "day": date(2026, 3, 1), "clock": time(1, 2, 3), "data": b"\0\xff",
        "doc": {"a": [1, None]}, "tags": ["plain", 'with "quotes", commas and \\', "NULL", "", None],
        "state": State.OPEN, "nothing": None,
    }  # fmt: skip
    async with shop(things, tables=[Table("things", key="id", column_types=columns)]) as manager:
        results = (await manager.client()).subscribe("subscription { things { id } }")
        manager.emit("things", "INSERT", new=given)
        await results.next()
    assert seen == [{**given, "state": "open"}]


# Changes without an event


async def test_no_event_waits_for_resolvers_and_does_not_guess():
    released = asyncio.Event()

    @subscription("orders", tenant="tenant_id")
    async def slow(event, variables) -> str:
        await released.wait()
        return event.row["status"]

    async with shop(slow) as manager:
        answers = (await manager.client(tenant_id="acme")).subscribe("subscription { slow }")
        manager.emit("orders", "INSERT", new=row(1, "late"))
        with pytest.raises(Unsettled, match="1 resolver calls"):
            await manager.settle(0.05)
        asyncio.get_running_loop().call_later(0.05, released.set)
        with pytest.raises(AssertionError, match="late"):
            await answers.assert_no_event()
        assert (await answers.next()).value == "late"


async def test_a_subscription_that_is_over_proves_nothing():
    async with shop() as manager:
        client = await manager.client(tenant_id="acme")
        orders = client.subscribe(ALL)
        client.close()
        with pytest.raises(ConnectionClosed):
            await orders.assert_no_event()
        with pytest.raises(ConnectionClosed):
            client.subscribe(ALL)


async def test_next_gives_up_in_the_time_that_it_was_given():
    async with shop() as manager:
        orders = (await manager.client(tenant_id="acme")).subscribe(ALL)
        with pytest.raises(NoEvent):
            await orders.next(0.01)
        with pytest.raises(NoEvent):
            await orders.next(0)
        asyncio.get_running_loop().call_later(0.02, lambda: manager.emit("orders", "INSERT", new=row(1)))
        assert (await orders.next()).operation == "INSERT"


async def test_a_resolver_that_raises_is_a_result_with_errors():
    @subscription("orders", tenant="tenant_id")
    async def broken(event, variables) -> str:
        raise KeyError(event.row["id"])

    async with shop(broken) as manager:
        results = (await manager.client(tenant_id="acme")).subscribe("subscription { broken }")
        manager.emit("orders", "INSERT", new=row(1))
        received = await results.next()
        with pytest.raises(ResultError) as failed:
            _ = received.value
        assert failed.value.code == "RESOLVER_FAILED" == received.errors[0]["extensions"]["code"]


# Resuming


async def test_a_cursor_resumes_behind_its_event_and_no_event_waits_for_the_replay():
    async with shop() as manager:
        first = await manager.client(tenant_id="acme")
        orders = first.subscribe(ALL)
        told = manager.commit(*(insert("orders", row(number)) for number in range(500)))
        assert (await orders.next()).cursor == told[0].cursor
        first.close()
        again = (await manager.client(tenant_id="acme")).subscribe(ALL, after=told[0].cursor)
        manager.emit("orders", "INSERT", new=row(500))
        assert [(await again.next()).value["row"]["id"] for _ in range(500)] == [str(n) for n in range(1, 501)]
        await again.assert_no_event()


async def test_a_cursor_is_kept_as_long_as_the_window_says_by_the_tests_clock():
    async with shop(replay_window_s=60) as manager:
        client = await manager.client(tenant_id="acme")
        first = manager.emit("orders", "INSERT", new=row(1))
        manager.emit("orders", "INSERT", new=row(2))
        manager.clock.advance(59)
        assert (await client.subscribe(ALL, after=first.cursor).next()).value["row"]["id"] == "2"
        manager.clock.advance(2)
        late = client.subscribe(ALL, after=first.cursor)
        with pytest.raises(SubscriptionEnded) as expired:
            await late.assert_no_event()
        assert expired.value.code == "CURSOR_EXPIRED"
        with pytest.raises(RequestRefused) as invalid:
            client.subscribe(ALL, after="nonsense")
        assert invalid.value.code == "CURSOR_INVALID"


# Time


async def test_a_token_ends_at_its_moment_and_not_before():
    async with shop() as manager:
        client = await manager.client(tenant_id="acme", expires_in=90)
        manager.clock.advance(89.999999)
        assert client.closed is None
        manager.clock.advance(0.000001)
        assert client.closed is not None
        assert client.closed.close_code == 4403
        with pytest.raises(ConnectionClosed, match="4403"):
            await manager.client(tenant_id="acme", expires_at=manager.clock.time() - 1)


async def test_clients_answer_pings_for_days_and_one_that_does_not_is_dropped_in_time():
    async with shop(ping_interval_s=10, pong_timeout_s=5) as manager:
        alive, gone = await manager.client(tenant_id="acme"), await manager.client(tenant_id="acme")
        gone.answers_pings = False
        manager.clock.advance(14.999)
        assert gone.closed is None
        manager.clock.advance(0.001)
        assert gone.closed is not None
        assert gone.closed.close_code == 3008
        manager.clock.advance(86_400)
        assert alive.closed is None


async def test_a_client_that_does_not_read_is_closed_by_age_and_by_bytes():
    async with shop(queue_age_max_s=30, queue_bytes_max=65_536, ping_interval_s=3600) as manager:
        old, full = await manager.client(tenant_id="acme"), await manager.client(tenant_id="globex")
        for client in (old, full):
            client.subscribe(ALL)
            client.reads = False
        manager.emit("orders", "INSERT", new=row(1))
        manager.clock.advance(29)
        assert old.closed is None
        manager.clock.advance(2)
        for number in range(2, 24):  # More than the few large events that may exceed the bound.
            manager.emit("orders", "INSERT", new=row(number, tenant="globex", status="x" * 40_000))
        await manager.settle()
        assert [client.closed and client.closed.close_code for client in (old, full)] == [1013, 1013]


async def test_the_clock_stands_still_in_between_and_begins_where_it_is_told():
    begin = datetime(2030, 1, 1, tzinfo=timezone.utc)
    clock = Clock(begin)
    clock.advance(1)
    async with shop(clock=clock) as manager:
        await manager.client(tenant_id="acme")
        await asyncio.sleep(0.01)
        assert clock.now() == begin + timedelta(seconds=1)
        emitted = manager.emit("orders", "INSERT", new=row(1))
        clock.advance(3600)
        assert (emitted.committed_at, clock.now()) == (begin + timedelta(seconds=1), begin + timedelta(seconds=3601))
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    with pytest.raises(ConfigurationError):
        Clock(datetime(2030, 1, 1))  # noqa: DTZ001


# Visibility


async def test_tenants_scopes_and_operations_are_the_engines_own():
    declared = subscription("orders", tenant="tenant_id", scopes=["orders:read"], operations=["INSERT"])
    async with shop(declared) as manager:
        nobody, stranger = await manager.client(), await manager.client(tenant_id="acme", scopes=["orders:write"])
        for client, code in ((nobody, "SCOPE_REQUIRED"), (stranger, "SCOPE_REQUIRED")):
            with pytest.raises(RequestRefused) as refused:
                client.subscribe(ALL)
            assert refused.value.code == code
        orders = (await manager.client(tenant_id="acme", scopes=["orders:read"])).subscribe(ALL)
        manager.emit("orders", "INSERT", new=row(1, tenant="globex"))
        manager.emit("orders", "DELETE", old=row(1))
        await orders.assert_no_event()


async def test_a_policy_that_postgresql_must_answer_refuses_its_subscriber():
    policies = [Policy("(EXISTS ( SELECT 1 FROM public.members m WHERE (m.id = notes.id)))", roles=["app"])]
    notes = Table("notes", id="bigint", owner="text", key="id", policies=policies)
    async with shop(subscription("notes", public=True), tables=[notes]) as manager:
        client = await manager.client(role="app")
        with pytest.raises(RequestRefused) as refused:
            client.subscribe("subscription { notes { row { id } } }")
        assert refused.value.code == "POLICY_NEEDS_DATABASE"
        manager.emit("notes", "INSERT", new={"id": 1})


async def test_row_security_without_policies_shows_nothing_and_says_so():
    notes = Table("notes", id="bigint", key="id", row_security=True)
    manager = shop(subscription("notes", public=True), tables=[notes], roles=["app"])
    with pytest.warns(PoliciesMissing, match="notes"):
        await manager.start()
    rows = (await manager.client(role="app")).subscribe("subscription { notes { row { id } } }")
    manager.emit("notes", "INSERT", new={"id": 1})
    await rows.assert_no_event()
    nobody = await manager.client()
    with pytest.raises(RequestRefused) as refused:
        nobody.subscribe("subscription { notes { row { id } } }")
    assert refused.value.code == "ROLE_REQUIRED"
    await manager.stop()


async def test_a_grant_hides_the_columns_that_it_does_not_name():
    table = Table("orders", id="bigint", cost="numeric", key="id", grants={"clerk": ["id"]})
    async with shop(subscription("orders", public=True), tables=[table], roles=["boss"]) as manager:
        costs = "subscription { orders { row { cost } } }"
        with pytest.raises(RequestRefused) as refused:
            (await manager.client(role="clerk")).subscribe(costs)
        assert refused.value.code == "COLUMN_FORBIDDEN"
        boss = (await manager.client(role="boss")).subscribe(costs)
        manager.emit("orders", "INSERT", new={"id": 1, "cost": 3})
        assert (await boss.next()).value["row"] == {"cost": "3"}


async def test_with_the_default_replica_identity_old_rows_have_the_key_alone():
    table = Table("orders", id="bigint", status="text", key="id", replica_identity="default")
    async with shop(subscription("orders", public=True, replica_identity="keep"), tables=[table]) as manager:
        orders = (await manager.client()).subscribe("subscription { orders { changed } }")
        manager.emit("orders", "UPDATE", old={"status": "open"}, new={"id": 1, "status": "paid"})
        assert (await orders.next()).value["changed"] == []


# Mistakes


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("ordres", "INSERT", {}, {"new": {}}), "TABLE_UNKNOWN"),
        (("orders", "INSERT", {}, {"new": {"idd": 1}}), "COLUMN_UNKNOWN"),
        (("orders", "INSERT", {}, {"new": {"id": "secret"}}), "ROW_INVALID"),
        (("orders", "INSERT", {}, {"new": {"id": True}}), "ROW_INVALID"),
        (("orders", "INSERT", {}, {"new": {"id": 2**63}}), "ROW_INVALID"),
        (("orders", "INSERT", {}, {"new": {"id": 1}}), "ROW_INVALID"),
        (("orders", "INSERT", {}, {"old": {"id": 1}}), "OPERATION_MISMATCH"),
        (("orders", "UPDATE", {}, {"new": {"id": 1}}), "OPERATION_MISMATCH"),
        (("orders", "UPSERT", {}, {"new": {"id": 1}}), "OPERATION_MISMATCH"),
    ],
)
async def test_a_change_that_cannot_have_happened_is_refused_without_its_values(change, code):
    table, operation, _, images = change
    async with shop() as manager:
        orders = (await manager.client(tenant_id="acme")).subscribe(ALL)
        with pytest.raises(ConfigurationError) as refused:
            manager.emit(table, operation, **images)
        assert refused.value.code == code
        assert "secret" not in str(refused.value)
        await orders.assert_no_event()


async def test_a_table_that_nobody_described_is_named():
    with pytest.raises(ConfigurationError, match="orders") as refused:
        await shop(tables=()).start()
    assert refused.value.code == "TABLE_UNKNOWN"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Table("orders"),
        lambda: Table("orders", id="bigint", key="nr"),
        lambda: Table("orders", id="bigint", replica_identity="nothing"),
        lambda: Table("orders", id="bigint", public=True),
        lambda: Table("orders", id="bigint", scopes=["read"]),
        lambda: enum("state"),
    ],
)
def test_a_table_that_cannot_be_is_refused(make):
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert refused.value.code == "TABLE_INVALID"


async def test_an_ordinary_engine_takes_neither_changes_nor_time_by_hand():
    from rowcast import EventBusConfig

    async with SubscriptionManager(bus=EventBusConfig.memory()) as manager:
        for call in (lambda: manager.executor.commit("[]"), lambda: manager.executor.advance(1.0)):
            with pytest.raises(ConfigurationError) as refused:
                call()
            assert refused.value.code == "NOT_REHEARSING"


# Lifecycle


async def test_a_twin_has_the_applications_declarations_and_settings_and_leaves_it_alone():
    app = SubscriptionManager("postgresql://nowhere.invalid/", ping_interval_s=7, naming="database")

    @app.subscription("orders", tenant="tenant_id")
    async def order_state(event, variables) -> str:
        return event.row["status"]

    async with MemoryManager.of(app, tables=[ORDERS], ping_interval_s=8) as twin:
        assert (twin.settings.ping_interval_s, twin.settings.naming, twin.database_url) == (8, "database", None)
        states = (await twin.client(tenant_id="acme")).subscribe("subscription { order_state }")
        twin.emit("orders", "INSERT", new=row(1, "packed"))
        assert (await states.next()).value == "packed"
    assert not app.has_run


async def test_a_stop_closes_its_clients_and_a_manager_can_be_started_again():
    manager = shop()
    client = await manager.client(tenant_id="acme")
    await manager.stop()
    assert client.closed is not None
    assert client.closed.close_code == 1001
    with pytest.raises(NotStarted):
        manager.emit("orders", "INSERT", new=row(1))
    manager.clock.advance(60)
    orders = (await manager.client(tenant_id="acme")).subscribe(ALL)
    manager.emit("orders", "INSERT", new=row(1))
    assert (await orders.next()).committed_at == manager.clock.now()
    await manager.stop()


def test_a_manager_is_closed_behind_the_loop_that_it_ran_on():
    manager = shop()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(manager.client(tenant_id="acme"))
    manager.close()
    loop.run_until_complete(manager.client(tenant_id="acme"))
    loop.close()
    manager.close()
    manager.close()
    asyncio.run(manager.client(tenant_id="acme"))
    manager.close()
