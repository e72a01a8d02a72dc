"""The transactions of the tenancy fuzz and the events that each subscriber must get, computed without rowcast.

A `World` is the committed rows. A `Subscriber` is one tenant's subscription; `told` adds the event of a change, by the
README's rule: its tenant's rows that match its filter; rows that leave show only their key.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Change = tuple[str, str, Row | None, Row | None]
"""Operation, table, old row, new row."""

KINDS = ("red", "blue", "boom", "%_'\";--", None)
NUMBERS = (-3, 0, 1, 7, 2_000_000_000, None)


@dataclass(frozen=True)
class Tenant:
    """One tenant: the id that its tables of each family have, and the word that no other tenant may ever see."""

    name: str
    ids: dict[str, str]
    canary: str

    def of(self, table: str) -> str:
        """Its id in this table."""
        return self.ids["number" if table in ("by_big", "by_int") else "word"]


@dataclass(frozen=True)
class Filter:
    """A condition in GraphQL and in Python."""

    text: str
    holds: Callable[[Row], bool]


@dataclass
class Subscriber:
    """One subscription of one tenant to one table."""

    tenant: Tenant
    table: str
    form: str
    filter: Filter
    operations: tuple[str, ...] | None
    expected: list[Any] = field(default_factory=list)

    @property
    def query(self) -> str:
        """The GraphQL document."""
        where = f"where: {self.filter.text}"
        operations = "" if self.operations is None else f", operations: [{' '.join(self.operations)}]"
        below = "{ transition ref body }" if self.form else "{ operation transition key { ref } row { ref body } }"
        return f"subscription {{ it: {self.table}{self.form}({where}{operations}) {below} }}"

    def sees(self, row: Row | None) -> bool:
        """Whether this image is in its view."""
        return row is not None and row["tenant"] == self.tenant.of(self.table) and self.filter.holds(row)

    def told(self, change: Change) -> None:
        """Add the event of this change, if there is one."""
        operation, table, old, new = change
        if table != self.table or (self.operations is not None and operation not in self.operations):
            return
        if operation == "TRUNCATE":
            self._leaves(operation, None)
        elif self.sees(new):
            assert new is not None
            stays = old is not None and self.sees(old) and old["ref"] == new["ref"]
            if self.sees(old) and not stays:  # It leaves its old key.
                self._leaves(operation, old)
            self._shows(operation, "STAY" if stays else "ENTER", new)
        elif self.sees(old):
            self._leaves(operation, old)

    def _shows(self, operation: str, transition: str, row: Row) -> None:
        if self.form:
            told = {"transition": transition, "ref": row["ref"], "body": row["body"]}
            self.expected.append("RESOLVER_FAILED" if row["kind"] == "boom" else told)
        else:
            shown = {"ref": row["ref"], "body": row["body"]}
            self.expected.append(
                {"operation": operation, "transition": transition, "key": {"ref": row["ref"]}, "row": shown}
            )

    def _leaves(self, operation: str, row: Row | None) -> None:
        if self.form == "_told":
            return
        if self.form:
            self.expected.append({"transition": "LEAVE", "ref": row["ref"] if row else "", "body": None})
        else:
            key = {"ref": row["ref"]} if row else None
            self.expected.append({"operation": operation, "transition": "LEAVE", "key": key, "row": None})


class World:
    """The rows, and random transactions on them."""

    def __init__(self, chance: random.Random, tenants: list[Tenant], tables: list[str]) -> None:
        self._chance = chance
        self._tenants = tenants
        self._tables = tables
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in tables}
        self._number = 0

    def transaction(self) -> tuple[list[tuple[str, tuple[Any, ...]]], list[Change], list[tuple[Tenant, str]], bool]:
        """Statements, changes, messages, and whether it commits. The rows are as if it had, only if it does."""
        kept = {table: dict(rows) for table, rows in self._rows.items()}
        steps = [self._step() for _ in range(self._chance.choice((1, 1, 2, 5)))]
        commits = self._chance.random() > 0.1
        if not commits:
            self._rows = kept
        statements = [(statement, arguments) for statement, arguments, _, _ in steps]
        changes = [change for _, _, change, _ in steps if change is not None]
        return statements, changes, [message for *_, message in steps if message is not None], commits

    def _step(self) -> tuple[str, tuple[Any, ...], Change | None, tuple[Tenant, str] | None]:
        table = self._chance.choice(self._tables)
        kind = self._chance.choices(
            ("insert", "update", "move", "delete", "truncate", "publish"), (9, 6, 5, 3, 0.4, 3)
        )[0]
        if kind == "publish":
            return self._publish()
        if kind == "truncate":
            self._rows[table].clear()
            return f"truncate {table}", (), ("TRUNCATE", table, None, None), None
        if kind == "insert" or not self._rows[table]:
            return self._insert(table)
        old = self._chance.choice(list(self._rows[table].values()))
        if kind == "delete":
            del self._rows[table][old["ref"]]
            return f"delete from {table} where ref = %s", (old["ref"],), ("DELETE", table, old, None), None  # noqa: S608
        return self._update(table, old, moved=kind == "move")

    def _insert(self, table: str) -> tuple[str, tuple[Any, ...], Change, None]:
        row = self._row(table, self._owner())
        self._rows[table][row["ref"]] = row
        statement = f"insert into {table} (ref, tenant, kind, n, body) values (%s, %s, %s, %s, %s)"  # noqa: S608
        return statement, tuple(row.values()), ("INSERT", table, None, row), None

    def _update(self, table: str, old: Row, *, moved: bool) -> tuple[str, tuple[Any, ...], Change, None]:
        """A moved row keeps nothing of its former tenant, not even its key."""
        if moved:
            new = self._row(table, self._owner())
        else:
            new = old | {"kind": self._chance.choice(KINDS), "n": self._chance.choice(NUMBERS)}
        del self._rows[table][old["ref"]]
        self._rows[table][new["ref"]] = new
        statement = f"update {table} set ref = %s, tenant = %s, kind = %s, n = %s, body = %s where ref = %s"  # noqa: S608
        return statement, (*new.values(), old["ref"]), ("UPDATE", table, old, new), None

    def _publish(self) -> tuple[str, tuple[Any, ...], None, tuple[Tenant, str]]:
        tenant = self._chance.choice(self._tenants)
        family = self._chance.choice(list(tenant.ids))
        payload = f'"{tenant.canary}-{self._next()}"'
        statement = "select rowcast.publish('news', %s::jsonb, %s)"
        return statement, (payload, tenant.ids[family]), None, (tenant, family + payload)

    def _owner(self) -> Tenant | None:
        return None if self._chance.random() < 0.05 else self._chance.choice(self._tenants)

    def _row(self, table: str, owner: Tenant | None) -> Row:
        number = self._next()
        mark = "nobody" if owner is None else owner.canary
        # Long bodies that do not compress are stored out of line; an update of other columns does not send them.
        body = f"{mark}-body-{number}" + self._chance.randbytes(self._chance.choice((0, 10, 4_500))).hex()
        return {
            "ref": f"{mark}-{number}",
            "tenant": None if owner is None else owner.of(table),
            "kind": self._chance.choice(KINDS),
            "n": self._chance.choice(NUMBERS),
            "body": body,
        }

    def _next(self) -> int:
        self._number += 1
        return self._number


def filters(chance: random.Random) -> Iterator[Filter]:
    """Random conditions, each true of NULL only where SQL's is."""
    while True:
        kind, number = chance.choice(("red", "blue", "boom")), chance.choice((-3, 0, 1, 7))
        yield chance.choice(
            (
                Filter("{}", lambda _: True),
                Filter(f'{{kind: {{eq: "{kind}"}}}}', lambda row, kind=kind: row["kind"] == kind),
                Filter(f'{{kind: {{neq: "{kind}"}}}}', lambda row, kind=kind: row["kind"] not in (None, kind)),
                Filter("{kind: {isNull: true}}", lambda row: row["kind"] is None),
                Filter('{kind: {in: ["red", "boom"]}}', lambda row: row["kind"] in ("red", "boom")),
                Filter('{kind: {like: "b%"}}', lambda row: (row["kind"] or "").startswith("b")),
                Filter(f"{{n: {{gt: {number}}}}}", lambda row, n=number: row["n"] is not None and row["n"] > n),
                Filter(
                    f"{{NOT: {{n: {{gt: {number}}}}}}}", lambda row, n=number: row["n"] is not None and row["n"] <= n
                ),
                Filter(
                    f'{{OR: [{{kind: {{eq: "{kind}"}}}}, {{n: {{eq: {number}}}}}]}}',
                    lambda row, kind=kind, n=number: row["kind"] == kind or row["n"] == n,
                ),
            )
        )
