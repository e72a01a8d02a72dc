"""The demo page in headless Chromium, as a person would look at it."""

from pathlib import Path

import psycopg
import pytest

from rig.browser import Page, page
from rig.client import ACME, GLOBEX
from rig.demo import demo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

TENANTS = {"acme": ACME, "globex": GLOBEX}


async def shown_tenants(tab: Page, column: str) -> set[str]:
    """The tenants of all rows in this column."""
    rows = f"[...document.querySelectorAll('#{column}-rows tr')]"
    # A row that left shows its key alone, so it has no tenant.
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
            row = "document.querySelector('#acme-rows tr[data-id=\"{}\"]')"
            order = await first_seen(tab, connection, row)
            connection.execute("update orders set status = 'paid <b>' where id = %s", [order])
            await tab.until(f"{row.format(order)}?.textContent.includes('paid <b>')")
            connection.execute("delete from orders where id = %s", [order])
            await tab.until(f"{row.format(order)}?.dataset.transition === 'LEAVE'")
            await tab.until(f"{row.format(order)} === null")
            assert await tab.evaluate("document.querySelectorAll('#globex-rows tr').length") == 0


async def first_seen(tab: Page, connection: "psycopg.Connection[tuple[object, ...]]", row: str) -> int:
    """Write orders until the page shows one: the page does not tell when its subscription has been taken up."""
    for order in range(1, 60):
        connection.execute("insert into orders (id, tenant_id, status) values (%s, %s, 'open')", [order, ACME])
        try:
            await tab.until(f"{row.format(order)} !== null", 1)
        except AssertionError:
            continue
        return order
    pytest.fail("no order ever appeared")
