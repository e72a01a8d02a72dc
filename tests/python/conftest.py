"""Fixtures of all Python tests: servers of both supported PostgreSQL versions, a database for each test.

A version that is not installed is skipped on a developer's machine and is an error where ``CI`` is set: a green run
there means that both were tested.
"""

import asyncio
import inspect
import os
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig.postgres import Cluster, Database, bindir, running

VERSIONS = (15, 18)

MAJORS = os.environ.get("ROWCAST_TEST_MAJORS", "both")
"""``one``: each test runs on one version, and over an outbox on the other. ``other``: on the version that ``one`` left
out. ``both``: on both."""


def pytest_configure(config: pytest.Config) -> None:
    """Markers that the command line of the suite selects by."""
    config.addinivalue_line("markers", "browser: looks at a page with headless Chromium")
    config.addinivalue_line("markers", "both_majors: depends on the version of PostgreSQL, so it always runs on both")
    # A shell starts background jobs with Ctrl-C ignored, and every server under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``ROWCAST_TEST_MAJORS`` does not ask for."""
    if MAJORS == "both":
        return
    assert MAJORS in ("one", "other"), f"ROWCAST_TEST_MAJORS is one, other or both, not {MAJORS}"
    left_out = [item for item in items if _is_of_one(item) != (MAJORS == "one")]
    items[:] = [item for item in items if _is_of_one(item) == (MAJORS == "one")]
    config.hook.pytest_deselected(items=left_out)


def _is_of_one(item: pytest.Item) -> bool:
    major = getattr(item, "callspec", None) and item.callspec.params.get("postgres")
    if major is None or item.get_closest_marker("both_majors"):
        return True
    over_outbox = os.environ.get("ROWCAST_TEST_CAPTURE") == "outbox"
    turn = zlib.crc32(item.nodeid.replace(f"pg{major}", "").encode()) + over_outbox
    return bool(major == VERSIONS[turn % len(VERSIONS)])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test in its own event loop. Fixtures are plain functions, so no plugin is needed."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda major: f"pg{major}")
def postgres(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A running server, for each version in turn. A test that kills it starts it again."""
    with running(request.param, installed(request.param)) as cluster:
        yield cluster


@pytest.fixture
def database(postgres: Cluster) -> Iterator[Database]:
    """An empty database, on each version in turn."""
    with postgres.database() as database:
        yield database


@pytest.fixture(scope="session")
def newest_postgres() -> Iterator[Cluster]:
    """A running server of the newest version, for guarantees that do not depend on PostgreSQL."""
    with running(VERSIONS[-1], installed(VERSIONS[-1])) as cluster:
        yield cluster


def installed(major: int) -> Path:
    """The folder of this version's programs."""
    binaries = bindir(major)
    if binaries is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"PostgreSQL {major} is not installed (PG_BINDIR_{major} may name its folder)")
    return binaries
