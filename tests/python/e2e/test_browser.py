"""The demo page in headless Chromium, as a user sees it."""

from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from rig.browser import Page, page
from rig.client import ACME, GLOBEX
from rig.demo import demo
from rig.postgres import Cluster, free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

TENANTS = {"acme": ACME, "globex": GLOBEX}
ROW = "document.querySelector('#acme-rows tr[data-id=\"{}\"]')"
IN_VIEW = "document.querySelector('#tenant-acme [data-count=rows]')?.textContent"
INSERT = """insert into orders (id, tenant_id, status, total, note)
    values (%s, '11111111-1111-1111-1111-111111111111', 'open', 99999.99, 'call before delivery')"""


async def shown_tenants(tab: Page, column: str) -> set[str]:
    """The tenants of all rows in this column."""
    rows = f"[...document.querySelectorAll('#{column}-rows tr')]"
    # A row that left the view shows only its key, so it has no tenant.
    return set(await tab.evaluate(f"{rows}.filter(r => r.dataset.transition !== 'LEAVE').map(r => r.dataset.tenant)"))


async def test_each_column_fills_with_its_own_tenants_rows(tmp_path: Path) -> None:
    with demo() as server:
        async with page(server.url()) as tab:
            for column, tenant in TENANTS.items():
                await tab.until(f"document.querySelector('#tenant-{column}')?.dataset.state === 'live'")
                await tab.until(f"Number(document.querySelector('#tenant-{column}')?.dataset.events) >= 10", 60)
                assert await shown_tenants(tab, column) == {tenant}
            await tab.screenshot(tmp_path / "demo.png")
            assert await tab.evaluate("document.querySelectorAll('[role=status]').length") == 2


async def test_a_row_written_by_sql_appears_changes_and_leaves_in_its_column_alone() -> None:
    with demo(DEMO_WRITER="off") as server, psycopg.connect(server.line("postgres "), autocommit=True) as connection:
        async with page(server.url()) as tab:
            for column in TENANTS:
                await tab.until(f"document.querySelector('#tenant-{column}')?.dataset.state === 'live'")
            connection.execute(INSERT, [1])
            await tab.until(f"{ROW.format(1)}?.dataset.transition")
            connection.execute("update orders set status = 'paid <b>' where id = 1")
            await tab.until(f"{ROW.format(1)}?.textContent.includes('paid <b>')")
            connection.execute("delete from orders where id = 1")
            await tab.until(f"{ROW.format(1)}?.dataset.transition === 'LEAVE'")
            await tab.until(f"{ROW.format(1)} === null")
            assert await tab.evaluate("document.querySelectorAll('#globex-rows tr').length") == 0


async def test_the_rows_that_exist_are_shown_and_counted() -> None:
    with demo(DEMO_WRITER="off") as server, psycopg.connect(server.line("postgres "), autocommit=True) as connection:
        for order in (1, 2, 3):
            connection.execute(INSERT, [order])
        async with page(server.url()) as tab:
            await tab.until(f"{ROW.format(3)}?.dataset.transition === 'SNAPSHOT'")
            await tab.until(f"{IN_VIEW} === '3'")
            assert await tab.evaluate("[...document.querySelectorAll('#acme-rows tr')].map(r => r.dataset.id)") == [
                "3",
                "2",
                "1",
            ]
            connection.execute("delete from orders where id = 2")
            await tab.until(f"{IN_VIEW} === '2'")
            connection.execute("truncate orders")
            await tab.until(f"{IN_VIEW} === '0'")


async def test_what_is_written_while_the_server_is_down_is_shown_and_what_was_shown_stays(
    newest_postgres: Cluster,
) -> None:
    async with AsyncExitStack() as stack:
        database = stack.enter_context(newest_postgres.database())
        lent = {"PORT": str(free_port()), "DEMO_WRITER": "off", "ROWCAST_DATABASE_URL": database.url}
        with demo(**lent) as server:
            tab = await stack.enter_async_context(page(server.url()))
            await tab.until("document.querySelector('#tenant-acme')?.dataset.state === 'live'")
            database.execute(INSERT, 1)
            await tab.until(f"{ROW.format(1)} !== null")
        await tab.until("document.querySelector('#tenant-acme').dataset.state === 'waiting'")
        database.execute(INSERT, 2)
        database.execute("update orders set status = 'paid' where id = 1")
        assert await tab.evaluate(f"{ROW.format(1)}.textContent.includes('open')"), "it shows what it knows"
        with demo(**lent):
            await tab.until(f"{ROW.format(2)}?.dataset.transition === 'ENTER'")
            await tab.until(f"{ROW.format(1)}.dataset.transition === 'STAY'")
            assert await tab.evaluate(f"{ROW.format(1)}.textContent.includes('paid')")
            assert await tab.evaluate(IN_VIEW) == "2"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_no_column_is_cut_off(width: int, scheme: str, tmp_path: Path) -> None:
    with demo(DEMO_WRITER="off") as server, psycopg.connect(server.line("postgres "), autocommit=True) as connection:
        for order in range(7_000_000_001, 7_000_000_031):
            connection.execute(INSERT, [order])
        async with page(server.url()) as tab:
            await tab.look(width, scheme=scheme)
            await tab.until(f"{IN_VIEW} === '30'")
            await tab.screenshot(tmp_path / f"{width}-{scheme}.png")
            cut = "c.scrollWidth > c.clientWidth + 1 || c.getBoundingClientRect().right > innerWidth"
            cells = f"[...document.querySelectorAll('td, pre')].filter(c => {cut})"
            assert await tab.evaluate(f"{cells}.map(c => c.textContent)") == []
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width
