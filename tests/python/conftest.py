"""Fixtures of all Python tests: servers of both supported PostgreSQL versions, a database for each test.

A version that is not installed is skipped on a developer's machine and is an error where ``CI`` is set: a green run
there means that both were tested.
"""

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig.postgres import Cluster, Database, bindir, running

VERSIONS = (15, 18)


def pytest_configure(config: pytest.Config) -> None:
    """Markers that the command line of the suite selects by."""
    config.addinivalue_line("markers", "browser: looks at a page with headless Chromium")
    # A shell starts background jobs with Ctrl-C ignored, and every server under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
