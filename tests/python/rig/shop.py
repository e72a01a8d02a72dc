"""The shop that the tests write to: one `orders` table of several tenants, as in the demo."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rig.client import ACME
from rig.postgres import Database

TABLES = """
create table orders (
    id bigint primary key, tenant_id uuid, status text, total numeric(12,2), note text, sent_at bigint
);
"""

ORDERS = "subscription { orders { operation transition key { id } row { id status } } }"


@dataclass
class Shop:
    """Writes to `orders` with ids that count up, each statement committed on return."""

    database: Database
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def open(self) -> "Shop":
        """Create the tables."""
        self.database.execute(TABLES)
        return self

    def insert(self, tenant: str = ACME, status: str = "open", note: str | None = None) -> str:
        """One more order; its id as the API shows it."""
        order = next(self._ids)
        self.database.execute("insert into orders values (%s, %s, %s, 12.50, %s, null)", order, tenant, status, note)
        return str(order)

    def insert_many(self, count: int, tenant: str = ACME, note: str = "") -> list[str]:
        """Orders of one transaction; their ids."""
        orders = [next(self._ids) for _ in range(count)]
        self.database.execute(
            "insert into orders select id, %s, 'open', 12.50, %s, null from unnest(%s::bigint[]) id",
            tenant,
            note,
            orders,
        )
        return [str(order) for order in orders]

    def update(self, order: str, **columns: Any) -> None:
        """Change columns of one order."""
        changes = ", ".join(f"{name} = %s" for name in columns)
        self.database.execute(f"update orders set {changes} where id = %s", *columns.values(), order)  # noqa: S608

    def delete(self, order: str) -> None:
        """Delete one order."""
        self.database.execute("delete from orders where id = %s", order)


def ids(payloads: Iterable[dict[str, Any]], name: str = "orders") -> list[str]:
    """The keys of these results, in order."""
    return [payload["data"][name]["key"]["id"] for payload in payloads]
