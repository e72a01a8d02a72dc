"""The pytest plugin in a user's test run: nothing is imported or configured."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

EXAMPLE = Path(__file__).parents[3] / "examples" / "testing_resolvers.py"

CONFTEST = """
import pytest
from rowcast import subscription
from rowcast.testing import Table

@subscription("orders", tenant="tenant_id")
async def totals(event, variables) -> float:
    return event.row["total"]

@pytest.fixture
def rowcast_app():
    return [totals]

@pytest.fixture
def rowcast_tables():
    return [Table("orders", id="bigint", tenant_id="text", total="float8", key="id")]
"""

BODY = """
    totals = (await rowcast_client(tenant_id="acme")).subscribe("subscription { totals }")
    rowcast_manager.emit("orders", "INSERT", new={"id": 1, "tenant_id": "acme", "total": 2.5})
    assert (await totals.next()).value == 2.5
    rowcast_manager.emit("orders", "INSERT", new={"id": 2, "tenant_id": "globex", "total": 0})
    rowcast_clock.advance(60)
    await totals.assert_no_event()
"""
# If pytest-asyncio is installed, it warns about a missing setting.
NO_ASYNCIO = ("-p", "no:asyncio")
ARGUMENTS = "rowcast_client, rowcast_manager, rowcast_clock"


@pytest.fixture
def suite(pytester, monkeypatch):
    """``suite(test module)``: assert that this many tests of a project with ``CONFTEST`` pass without a warning."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(module, *options, passed=1):
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(module)
        result = pytester.runpytest_subprocess("-W", "error", *(options or NO_ASYNCIO), timeout=60)
        result.assert_outcomes(passed=passed)

    return run


def test_the_fixtures_need_no_plugin_but_their_own(suite):
    suite(
        f"import asyncio\n\ndef test_it({ARGUMENTS}):\n    async def run():{indented(BODY)}\n    asyncio.run(run())\n"
    )


def test_the_fixtures_go_with_anyio(suite):
    backend = "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n\n"
    suite(f"{backend}@pytest.mark.anyio\nasync def test_it({ARGUMENTS}):{BODY}")


@pytest.mark.skipif(importlib.util.find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed")
def test_the_fixtures_go_with_pytest_asyncio(suite):
    suite(
        f"async def test_it({ARGUMENTS}):{BODY}",
        "-o",
        "asyncio_mode=auto",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )


def test_whoever_forgets_to_say_what_is_tested_is_told(pytester):
    pytester.makepyfile("def test_it(rowcast_manager):\n    pass\n")
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*override the fixture rowcast_app*"])


def test_the_example_passes_as_it_is(pytester):
    pytester.makepyfile(EXAMPLE.read_text())
    result = pytester.runpytest_subprocess("-W", "error", *NO_ASYNCIO, timeout=60)
    result.assert_outcomes(passed=7)


@pytest.mark.parametrize(("imported", "absent"), [("rowcast", "rowcast.testing"), ("rowcast.testing", "pytest")])
def test_the_kit_is_off_the_path_of_normal_use_and_does_without_pytest(imported, absent):
    script = f"import sys, {imported}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def indented(text):
    return text.replace("\n", "\n    ")
