"""What happened, as the database itself recorded it, and what each subscriber is owed for it.

The order is exact: transactions in the order in which they committed, as the witness slot shows it (PostgreSQL's own
decoding, of which only the BEGIN messages are read), changes of one transaction in the order of its own record. An
outbox may tell transactions that did not wait for each other in another order: there it is its own, held against the
slot's.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from chaos.world import SLOT, TABLES
from rig.postgres import Database
from rig.server import CAPTURE

Image = dict[str, Any]

END = 1 << 64
"""A position behind all others."""

Row = tuple[str | None, str | None]
"""What a client has of a row: its revision and its body (digested)."""

ALTERED, WHOLE = "ALTERED", "WHOLE"
"""Between these, changes of a table may not be captured: an administrator was at work."""

Told = tuple[str, str, str | None, str | None, str | None]
"""What one event says: operation, transition, key, and the row's revision and body (digested)."""


@dataclass(frozen=True)
class Change:
    """One committed change of a row, or of the policy of `notes`, or a mark of an administrator."""

    lsn: int
    table: str
    operation: str
    old: Image | None = None
    new: Image | None = None

    def halves(self) -> "tuple[Change, ...]":
        """What is delivered of it: a row whose key changed leaves under its old key and enters under its new one."""
        if self.old is None or self.new is None or self.old["id"] == self.new["id"]:
            return (self,)
        return (replace(self, new=None), replace(self, old=None))


@dataclass(frozen=True)
class View:
    """What one subscription is about: whose rows, of which table, in which states."""

    owner: str
    table: str
    states: tuple[str, ...] | None = None

    def sees(self, image: Image | None, policy: int) -> bool:
        """Whether this image is in view while that version of the policy of `notes` holds."""
        if image is None or image["owner"] != self.owner:
            return False
        if self.table == "notes" and policy % 2 == 1 and image["state"] == "secret":
            return False
        return self.states is None or image["state"] in self.states

    def told(self, change: Change, policy: int) -> Told | None:
        """What a change means to it."""
        before, after = self.sees(change.old, policy), self.sees(change.new, policy)
        if change.operation == "TRUNCATE":
            return ("TRUNCATE", "LEAVE", None, None, None)
        if after:
            assert change.new is not None
            new = change.new
            transition = "STAY" if before else "ENTER"
            return (change.operation, transition, str(new["id"]), str(new["rev"]), new["body"])
        if before:
            assert change.old is not None
            return (change.operation, "LEAVE", str(change.old["id"]), None, None)
        return None


@dataclass(frozen=True)
class Owed:
    """One event that a subscriber must get, in its place.

    After a change of the policy what was committed before it may be judged by the old rules or the new: ``outcomes``
    has what either says, by version, the one in force at the commit first.
    """

    lsn: int
    outcomes: dict[int, Told | None]

    def says(self, told: Told, policies: int) -> bool:
        """Whether it may be delivered like this while no version after ``policies`` exists."""
        return any(outcome == told for version, outcome in self._possible(policies))

    def may_be_silent(self, policies: int) -> bool:
        """Whether it may be left out then."""
        return any(outcome is None for _, outcome in self._possible(policies))

    def _possible(self, policies: int) -> Iterable[tuple[int, Told | None]]:
        first = next(iter(self.outcomes))
        return ((version, told) for version, told in self.outcomes.items() if version <= max(first, policies))


class Account:
    """Everything that one subscription is owed, in order, and where each event stands in it."""

    def __init__(self, view: View, owed: list[Owed]) -> None:
        self.view = view
        self.owed = owed
        self._lsns = [event.lsn for event in owed]
        self._places: dict[Told, list[int]] = {}
        for place, event in enumerate(owed):
            for told in {told for told in event.outcomes.values() if told is not None}:
                self._places.setdefault(told, []).append(place)

    def places(self, told: Told) -> list[int]:
        """Where this stands; nowhere if it was never owed."""
        return self._places.get(told, [])

    def first_at(self, lsn: int) -> int:
        """The place of what committed first at or after this position."""
        return bisect_left(self._lsns, lsn)


class History:
    """All changes in commit order."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes
        self._latest = sum(change.operation == "POLICY" for change in changes)
        self.keys = {str(image["id"]) for change in changes for image in (change.old, change.new) if image}

    def altered(self, table: str) -> list[tuple[int, int]]:
        """From where to where an administrator kept changes of a table from being captured."""
        spans: list[tuple[int, int]] = []
        began = None
        for change in (change for change in self.changes if change.table == table):
            if change.operation == ALTERED and began is None:
                began = change.lsn
            elif change.operation == WHOLE and began is not None:
                spans.append((began, change.lsn))
                began = None
        return spans if began is None else [*spans, (began, END)]

    def account(self, view: View) -> Account:
        """What a subscriber with this view is owed from beginning to end."""
        owed: list[Owed] = []
        policy = 0
        for change in self.changes:
            if change.operation == "POLICY":
                policy += 1
            elif change.table == view.table and change.operation not in (ALTERED, WHOLE):
                events = (self._owed(view, half, policy) for half in change.halves())
                owed.extend(event for event in events if event is not None)
        return Account(view, owed)

    def rows(self, view: View) -> dict[str, Row] | None:
        """What a subscriber with this view has in the end; unknown where a policy changed in silence."""
        if view.table == "notes" and self._latest:
            return None
        return {key: row(image) for key, image in self.table(view.table).items() if view.sees(image, 0)}

    def table(self, name: str) -> dict[str, Image]:
        """The rows of a table in the end, by key."""
        images: dict[str, Image] = {}
        for change in (change for change in self.changes if change.table == name):
            if change.operation == "TRUNCATE":
                images.clear()
            if change.old is not None:
                images.pop(str(change.old["id"]), None)
            if change.new is not None:
                images[str(change.new["id"])] = change.new
        return images

    def _owed(self, view: View, change: Change, policy: int) -> Owed | None:
        versions = range(policy, self._latest + 1) if view.table == "notes" else (policy,)
        outcomes = {version: view.told(change, version) for version in versions}
        return Owed(change.lsn, outcomes) if any(outcomes.values()) else None


def row(image: Image) -> Row:
    """What of it a client keeps."""
    return (str(image["rev"]), image["body"])


def read(database: Database) -> History:
    """The record, once everything has been written; it has to end with what the tables have."""
    rows = database.execute("select xid::text::bigint & 4294967295, id, tab, op, old, new from chaos.history")
    committed = _ordered(rows, _commits(database))
    if CAPTURE == "outbox":
        told = _ordered(rows, _windows(database))
        _refuse_other_order(committed, told)
        committed = told
    history = History(committed)
    _refuse_other_tables(database, history)
    return history


def _refuse_other_tables(database: Database, history: History) -> None:
    for table in TABLES:
        has = database.execute(f"select id::text, rev::text, md5(body) from {table}")
        recorded = {key: row(image) for key, image in history.table(table).items()}
        assert recorded == {key: (rev, body) for key, rev, body in has}, f"the record of {table} is not the table"


def _ordered(rows: list[Any], transactions: list[tuple[int, int]]) -> list[Change]:
    order = {xid: (place, position) for place, (xid, position) in enumerate(transactions)}
    placed = sorted(rows, key=lambda row: (order[row[0]], row[1]))
    return [Change(order[xid][1], *change) for xid, _, *change in placed]


def _refuse_other_order(committed: list[Change], told: list[Change]) -> None:
    """What happened to one row, and what emptied its table, has to be delivered as it was committed."""
    marks = (ALTERED, WHOLE)
    committed, told = ([change for change in changes if change.operation not in marks] for changes in (committed, told))
    for story, as_told in zip(_stories(committed), _stories(told), strict=True):
        assert story == as_told, f"disordered by the outbox: {story} was delivered as {as_told}"


def _stories(changes: list[Change]) -> list[list[tuple[str, Any, Any]]]:
    """By table and key, what happened to it."""
    stories: dict[tuple[str, Any], list[tuple[str, Any, Any]]] = {}
    for change in changes:
        stories.setdefault((change.table, None), [])
        for key in {image["id"] for image in (change.old, change.new) if image}:
            stories.setdefault((change.table, key), [])
    for change in changes:
        keys = {image["id"] for image in (change.old, change.new) if image}
        if not keys:
            concerned = change.table or "notes"
            for (table, _), story in stories.items():
                if table == concerned:
                    story.append((change.operation, None, None))
        for key in keys:
            stories[change.table, key].append((change.operation, change.old, change.new))
    return [stories[name] for name in sorted(stories, key=str)]


def _windows(database: Database) -> list[tuple[int, int]]:
    """Transactions and their positions in the order that the outbox gave them."""
    query = (
        "select x.xid::text::bigint & 4294967295, (w.first - '0/0')::bigint + x.place - 1 from chaos.windows w"
        " cross join lateral unnest(w.xids) with ordinality x (xid, place) order by 2"
    )
    return [(xid, position) for xid, position in database.execute(query)]


def _commits(database: Database) -> list[tuple[int, int]]:
    """Transactions and the positions of their commits, in order: a BEGIN is `B`, LSN, time, xid."""
    query = (
        "select data from pg_logical_slot_peek_binary_changes(%s, null, null,"
        " 'proto_version', '1', 'publication_names', 'chaos_witness') where substr(data, 1, 1) = 'B'"
    )
    return [_begin(bytes(data)) for (data,) in database.execute(query, SLOT)]


def _begin(message: bytes) -> tuple[int, int]:
    lsn, _, xid = struct.unpack(">qqI", message[1:21])
    return xid, lsn
