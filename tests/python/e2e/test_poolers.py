"""A connection pooler between rowcast and PostgreSQL is reported with what to do, whichever command comes first."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.pooler import PROGRAM, pooled
from rig.postgres import Cluster
from rowcast import EventBusConfig, RowcastError, SubscriptionManager

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: apt-get install pgbouncer"),
]

ROWCAST = Path(sys.executable).with_name("rowcast")
SETUPS = [(mode, ignored) for mode in ("transaction", "statement") for ignored in ("options", "extra_float_digits")]


@pytest.fixture(params=SETUPS, ids="-".join)
def url(newest_postgres: Cluster, request: Any) -> Iterator[str]:
    """A database behind PgBouncer, which drops or refuses the startup parameter `options`."""
    with newest_postgres.database() as database, pooled(database, *request.param) as url:
        yield url


def assert_is_said(text: str) -> None:
    """What happened, and what to do."""
    assert "POOLER_BETWEEN" in text
    assert "PgBouncer" in text
    assert "connect to PostgreSQL itself" in text


@pytest.mark.parametrize("command", [["status"], ["migrate"], ["watch", "orders"]], ids=lambda command: command[0])
def test_every_command_names_the_pooler(url: str, command: list[str]) -> None:
    run = subprocess.run(
        [str(ROWCAST), *command, "--database", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    assert_is_said(run.stderr)


async def test_a_manager_that_starts_names_the_pooler(url: str) -> None:
    manager = SubscriptionManager(bus=EventBusConfig.postgresql(url))
    manager.subscription(topic="alerts", public=True)
    with pytest.raises(RowcastError) as refused:
        await manager.start()
    assert_is_said(f"{refused.value} {refused.value.code}")
