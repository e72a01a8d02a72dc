"""A running `rig.notes_app` on a database of its own, whose table `notes` is protected by row policies alone."""

import itertools
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from rig.postgres import Database
from rig.server import Server, serve

COMPILED = "owner = current_setting('app.user', true)"
DELEGATED = "exists (select from people p where p.name = notes.owner and p.name = current_setting('app.user', true))"
"""The same condition, which only PostgreSQL can evaluate."""
RAISING = "(select p.name::int from people p where p.name = notes.owner) > 0"
"""Raises for each note whose owner's name is not a number."""

TABLES = """
create table people (name text primary key);
insert into people values ('ann'), ('bob');
create table notes (id bigint primary key, owner text not null, text text not null, secret text);
alter table notes enable row level security;
create role {role};
create policy own on notes for select to {role} using ({policy});
grant select (id, owner, text) on notes to {role};
grant select on people to {role};
"""

NOTES = "subscription { notes { transition key { id } row { owner text } } }"


@dataclass(frozen=True)
class Notebook:
    """One server, and writing as the table's owner."""

    server: Server
    database: Database
    role: str
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        """``ws://host:port``."""
        return self.server.url("ws")

    def write(self, owner: str, text: str = "hello") -> str:
        """One more note, committed; its id as the API shows it."""
        note = next(self._ids)
        self.database.execute("insert into notes values (%s, %s, %s, 'secret')", note, owner, text)
        return str(note)

    def give(self, note: str, owner: str) -> None:
        """Give a note to another owner."""
        self.database.execute("update notes set owner = %s where id = %s", owner, note)

    def token(self, user: str, seconds: float | None = None) -> str:
        """A token that is valid now."""
        query = "" if seconds is None else f"?seconds={seconds}"
        token: str = self._http(f"/token/{user}{query}")
        return token

    def revoke(self, user: str) -> int:
        """How many sockets were closed."""
        closed: int = self._http(f"/revoke/{user}", b"")
        return closed

    def metrics(self) -> dict[str, int]:
        """The engine's counters now."""
        counters: dict[str, int] = self._http("/metrics")
        return counters

    def by_key(self, token: str, *notes: str) -> list[Any]:
        """What a federated graph's gateway gets for these keys."""
        query = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Notes { id owner text } } }"
        variables = {"r": [{"__typename": "Notes", "id": note} for note in notes]}
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = self._http("/graphql", body, authorization=f"Bearer {token}")
        entities: list[Any] = answer["data"]["_entities"]
        return entities

    def _http(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        headers |= {"content-type": "application/json"}
        request = urllib.request.Request(self.server.url() + path, body, headers)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - as above
            return json.load(answer)


@contextmanager
def notebook(
    database: Database,
    policy: str = COMPILED,
    url: str | None = None,
    *,
    watched: bool = False,
    **environment: str,
) -> Iterator[Notebook]:
    """A started server on new tables and a new role, which is dropped at the end.

    Args:
        database: The database of the tables.
        policy: The USING expression of the policy on `notes`.
        url: How the server connects, if not as the tables' owner.
        watched: Whether the owner watches the table before the server starts.
        environment: Environment variables of the server.
    """
    role = f"notes_{uuid4().hex}"
    database.execute(TABLES.format(role=role, policy=policy))
    if watched:
        database.execute("select rowcast.watch('notes')")
    try:
        with served(database, role, url or database.url, **environment) as notes:
            yield notes
    finally:
        database.execute(f"drop owned by {role}; drop role {role}")


@contextmanager
def served(database: Database, role: str, url: str, **environment: str) -> Iterator[Notebook]:
    """The server alone."""
    environment |= {"ROWCAST_DATABASE_URL": url, "NOTES_ROLE": role}
    server = serve("rig.notes_app:app", environment)
    try:
        server.line("ready ")
        yield Notebook(server, database, role)
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure
