"""The engine's log lines reach the operator through `logging`, and no one else."""

import asyncio
import logging
import os
import time
from collections.abc import Iterator

import pytest

from rig.postgres import Cluster, Database
from rig.server import CAPTURE
from rig.wait import until, until_async
from rowcast import (
    EventBusConfig,
    Principal,
    RowcastError,
    SubscriptionEnded,
    SubscriptionExecutor,
    SubscriptionManager,
    drain_log,
)
from rowcast._engine import take_log

pytestmark = pytest.mark.timeout(120)

BROKEN = "select count(pg_logical_emit_message(true, 'rowcast.publish', 'canary')) from generate_series(1, %s)"
"""Messages that the engine sets aside, each with a warning."""


@pytest.fixture
def empty(newest_postgres: Cluster) -> Iterator[Database]:
    with newest_postgres.database() as database:
        yield database


@pytest.fixture
def url(empty: Database) -> Iterator[str]:
    """An engine role that may create its schema and is not a superuser: a superuser would add a line to the log."""
    role = f"engine_{empty.name}"
    empty.execute(f"create role {role} login replication; grant create on database {empty.name} to {role}")
    yield empty.url.replace("postgres@", f"{role}@")
    empty.execute(f"drop owned by {role}; drop role {role}")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The log belongs to the process: each test starts with an empty log and no level set."""
    package = logging.getLogger("rowcast")
    level = package.level
    package.setLevel(logging.WARNING)
    drain_log()
    yield
    package.setLevel(level)
    for name in ("rowcast.engine", "rowcast.engine.capture"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    drain_log()


def told(caplog: pytest.LogCaptureFixture, name: str = "rowcast.engine") -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == name]


async def test_why_a_stream_is_lost_is_in_the_log_while_a_subscriber_is_told_the_code(
    empty: Database, caplog: pytest.LogCaptureFixture
) -> None:
    empty.execute("create table tasks (id int primary key)")
    manager = SubscriptionManager(empty.url)
    manager.subscription("tasks", public=True)
    async with manager:
        manager.executor.register("1", "subscription { tasks { cursor } }", principal=Principal())
        empty.execute("drop publication rowcast")
        empty.execute("insert into tasks values (1)")
        with pytest.raises(SubscriptionEnded) as ended:
            await asyncio.to_thread(manager.executor.next_event, "1", 30.0)
        await until_async(lambda: told(caplog), "the engine's word")
    assert ended.value.code == "CAPTURE_FAILED"
    assert "PUBLICATION_MISSING" in str(ended.value)
    where = f"127.0.0.1:{empty.cluster.port}/{empty.name}"
    assert where not in str(ended.value)
    (record,) = (record for record in told(caplog) if record.levelno == logging.ERROR)
    message = record.getMessage()
    assert message.startswith("the replication stream has failed: "), message
    assert message.endswith(" code=PUBLICATION_MISSING"), message
    assert where in message
    assert record.pathname.endswith("core.rs")
    assert abs(record.created - time.time()) < 60


async def test_a_table_whose_old_rows_are_not_carried_whole_is_a_warning_at_the_start(
    empty: Database, caplog: pytest.LogCaptureFixture
) -> None:
    empty.execute("create table tasks (id int primary key, org text)")
    manager = SubscriptionManager(empty.url, capture="outbox" if CAPTURE == "outbox" else "wal")
    manager.subscription("tasks", tenant="org", replica_identity="keep")
    async with manager:
        if CAPTURE != "outbox":
            await until_async(lambda: "IDENTITY_NOT_FULL" in caplog.text, "the warning")
    messages = [record.getMessage() for record in told(caplog) if "ENGINE_IS_SUPERUSER" not in record.getMessage()]
    if CAPTURE == "outbox":  # Triggers see whole rows.
        assert messages == []
        return
    (message,) = messages
    assert "get no DELETE and no LEAVE" in message
    assert "code=IDENTITY_NOT_FULL table=public.tasks" in message


async def test_rooms_have_loggers_and_levels_of_their_own(
    empty: Database, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("rowcast.engine.capture").setLevel(logging.INFO)
    async with SubscriptionManager(url):
        await asyncio.to_thread(interrupt, empty)
        await until_async(lambda: "capture resumed" in caplog.text, "the capture to resume")
    assert {record.levelname for record in told(caplog, "rowcast.engine.capture")} == {"WARNING", "INFO"}
    assert [record.levelname for record in told(caplog)] == ["WARNING"], "the engine's own INFO is nobody's"
    (resumed,) = (record for record in told(caplog, "rowcast.engine.capture") if record.levelno == logging.INFO)
    assert resumed.getMessage().startswith("capture resumed source=rowcast")


async def test_where_the_logger_is_off_nothing_is_written_until_it_is_turned_on(
    empty: Database, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("rowcast.engine").setLevel(logging.CRITICAL)
    async with SubscriptionManager(url) as manager:
        empty.execute(BROKEN, 10)
        await until_async(lambda: manager.metrics()["messages_ignored_total"] == 10, "the messages to be set aside")
        assert take_log(100) == (0, [])
        logging.getLogger("rowcast.engine").setLevel(logging.WARNING)
        drain_log()
        empty.execute(BROKEN, 10)
        await until_async(lambda: manager.metrics()["messages_ignored_total"] == 20, "more to be set aside")
        await until_async(lambda: len(told(caplog)) == 10, "lines of these alone")


async def test_a_loop_that_does_not_come_loses_the_oldest_lines_and_is_told_how_many(
    empty: Database, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with SubscriptionManager(url) as manager:
        empty.execute(BROKEN, 1_500)
        until(lambda: manager.metrics()["messages_ignored_total"] == 1_500, "the messages, with the loop held up")
        await until_async(lambda: len(told(caplog)) > 1_000, "the lines that are left")
    messages = [record.getMessage() for record in told(caplog)]
    assert messages[0] == "dropped 500 engine log lines: they arrived faster than they were read"
    assert len(messages) == 1_001
    assert "canary" not in caplog.text


async def test_lines_of_a_start_that_fails_are_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("rowcast.engine").setLevel(logging.INFO)
    manager = SubscriptionManager(url)
    manager.subscription("no_such_table", public=True)
    with pytest.raises(RowcastError):
        await manager.start()
    assert "applied migration" in caplog.text
    assert take_log(1) == (0, [])


async def test_one_of_two_managers_tells_each_line(empty: Database, url: str, caplog: pytest.LogCaptureFixture) -> None:
    first = SubscriptionManager(url, slot="first")
    async with first, SubscriptionManager(url, slot="second") as second:
        empty.execute(BROKEN, 10)
        await until_async(lambda: len(told(caplog)) == 20, "both engines' lines")
        await first.stop()
        empty.execute(BROKEN, 5)
        await until_async(lambda: len(told(caplog)) == 25, "the lines of the engine that is left")
        assert second.metrics()["messages_ignored_total"] == 15


def test_without_a_manager_lines_wait_until_they_are_asked_for(
    empty: Database, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = SubscriptionExecutor(EventBusConfig.postgresql(url))
    engine.migrate()
    engine.start()
    empty.execute(BROKEN, 3)
    until(lambda: engine.metrics()["messages_ignored_total"] == 3, "the messages to be set aside")
    engine.stop()
    assert told(caplog) == []
    assert drain_log() == 3
    assert [record.levelname for record in told(caplog)] == ["WARNING"] * 3


async def test_a_filter_that_raises_stops_neither_the_other_lines_nor_the_loop(
    empty: Database, url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(100))

    def raising(_record: logging.LogRecord) -> bool:
        if next(calls) == 0:
            raise RuntimeError("the filter's own")
        return True

    logger = logging.getLogger("rowcast.engine")
    logger.addFilter(raising)
    try:
        async with SubscriptionManager(url):
            empty.execute(BROKEN, 3)
            await until_async(lambda: len(told(caplog)) == 2, "the other lines")
    finally:
        logger.removeFilter(raising)
    assert "the filter's own" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_a_log_of_its_own(empty: Database, url: str) -> None:
    engine = SubscriptionExecutor(EventBusConfig.postgresql(url))
    engine.migrate()
    engine.start()
    empty.execute(BROKEN, 3)
    until(lambda: engine.metrics()["messages_ignored_total"] == 3, "the messages to be set aside")
    child = os.fork()
    if child == 0:
        os._exit(0 if take_log(10) == (0, []) else 1)
    assert os.waitpid(child, 0)[1] == 0
    engine.stop()
    assert drain_log() == 3


def interrupt(database: Database) -> None:
    """End the walsender; the capture reconnects by itself."""
    look = "select pg_terminate_backend(active_pid) from pg_replication_slots where database = %s and active"
    until(lambda: database.execute(look, database.name), "the stream to be interrupted")
