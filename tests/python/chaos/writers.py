"""Writers: threads with a connection each, which do to the tables what applications do, whatever becomes of the server.

What a writer believes does not matter: whether a transaction counts is read from the database afterwards. So an unknown
outcome of a commit does not matter here.
"""

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import psycopg

from chaos.world import STATES, TABLES, TENANTS
from rig.postgres import Database

Session = psycopg.Connection[tuple[object, ...]]

KINDS = {
    "insert": 10,
    "update": 9,
    "many": 2,
    "bulk": 0.2,
    "key": 3,
    "move": 4,
    "hide": 4,
    "delete": 4,
    "truncate": 0.03,
}
"""What a statement may be, by weight."""

ENDS = {"commit": 40, "rollback": 4, "prepare": 3, "part": 6}
"""How a transaction may end: `part` rolls back to a savepoint before it commits, `prepare` does it in two phases."""

LONG = 0.01
"""How many transactions are open for seconds."""


class Writer:
    """One connection's worth of changes, at most ``rate`` transactions a second."""

    _numbers = itertools.count(1)

    def __init__(self, database: Database, seed: int, number: int, rate: float) -> None:
        self.done: Counter[str] = Counter()
        self._database = database
        self._chance = random.Random(f"{seed}/writer/{number}")
        self._number = number
        self._pause = 1 / rate
        self._keys = itertools.count(number * 1_000_000_000 + 1)
        self._known: dict[str, list[int]] = {table: [] for table in TABLES}
        self._doubt: str | None = None
        """What was prepared and has not been seen to end."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer-{number}", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def join(self, patience: float) -> None:
        """Wait for its end, which `stop` has asked for."""
        self._thread.join(patience)
        assert not self._thread.is_alive(), f"{self._thread.name} does not end"

    def stop(self) -> None:
        """Ask it to end after the transaction at hand."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError), self._connect() as session:
                self._settle(session)
                while not self._stop.wait(self._pause * self._chance.uniform(0.2, 1.8)):
                    self._transaction(session)
            self._stop.wait(0.1)

    def _connect(self) -> Session:
        options = "-c lock_timeout=1s -c deadlock_timeout=200ms -c statement_timeout=15s -c application_name=chaos"
        return self._database.connect(autocommit=False, connect_timeout=3, options=options)

    def _transaction(self, session: Session) -> None:
        end = self._pick(ENDS)
        try:
            if self._chance.random() < 0.1:
                # As tools that restore and replicate do: ordinary triggers do not fire.
                session.execute("set local session_replication_role = replica")
            self._statements(session)
            self._end(session, end)
            self.done[end] += 1
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled):
            session.rollback()
            self.done["given up"] += 1

    def _statements(self, session: Session) -> None:
        for _ in range(self._chance.choice((1, 1, 1, 2, 5))):
            self._step(session)
        if self._chance.random() < LONG:
            # What administrators do in this time meets a transaction that is open.
            time.sleep(self._chance.uniform(0.5, 5))
            self._step(session)

    def _end(self, session: Session, end: str) -> None:
        if end == "rollback":
            session.rollback()
        elif end == "prepare":
            self._two_phases(session)
        else:
            if end == "part":
                session.execute("savepoint here")
                self._statements(session)
                session.execute("rollback to savepoint here")
                self._step(session)
            session.commit()

    def _settle(self, session: Session) -> None:
        """As a coordinator does after a crash: else no slot could be made until the end."""
        if self._doubt is not None:
            session.autocommit = True
            with contextlib.suppress(psycopg.errors.UndefinedObject):
                session.execute(f"commit prepared '{self._doubt}'")
            self._doubt = None
            session.autocommit = False

    def _two_phases(self, session: Session) -> None:
        name = self._doubt = f"chaos-{self._number}-{next(self._numbers)}"
        session.execute(f"prepare transaction '{name}'")
        session.autocommit = True
        try:
            time.sleep(self._chance.uniform(0, 0.3))
            session.execute(f"{self._chance.choice(('commit', 'commit', 'rollback'))} prepared '{name}'")
            self._doubt = None
        finally:
            if not session.closed:
                session.autocommit = False

    def _step(self, session: Session) -> None:
        table = self._chance.choice(TABLES)
        kind = self._pick(KINDS)
        known = self._known[table]
        if kind == "insert" or not known:
            key = next(self._keys)
            known.append(key)
            del known[:-200]
            self._insert(session, table, key)
        else:
            STEPS[kind](self, session, table, self._chance.choice(known))

    def _insert(self, session: Session, table: str, key: int) -> None:
        owner, state = self._chance.choice(TENANTS), self._chance.choice(STATES)
        # Long bodies that do not compress are stored out of line; an update that leaves them alone does not send them.
        body = self._chance.randbytes(self._chance.choice((0, 10, 10, 10, 3_000))).hex()
        statement = f"insert into {table} values (%s, %s, %s, nextval('chaos.rev'), %s)"
        session.execute(statement.encode(), (key, owner, state, body))

    def _update(self, session: Session, table: str, key: int) -> None:
        self._set(session, table, key, "state = %s", self._chance.choice(STATES))

    def _many(self, session: Session, table: str, _key: int) -> None:
        wanted = self._chance.sample(self._known[table], min(20, len(self._known[table])))
        statement = f"update {table} set rev = nextval('chaos.rev'), state = %s where id = any(%s)"
        session.execute(statement.encode(), (self._chance.choice(STATES), wanted))

    def _bulk(self, session: Session, table: str, _key: int) -> None:
        keys = list(itertools.islice(self._keys, self._chance.randrange(500, 3000)))
        owners, states = list(TENANTS), list(STATES)
        chosen = "(%s::text[])[1 + id %% 3], (%s::text[])[1 + id %% 4]"
        columns = f"id, {chosen}, nextval('chaos.rev'), repeat('bulk', 60)"
        statement = f"insert into {table} select {columns} from unnest(%s::bigint[]) id"
        session.execute(statement.encode(), (owners, states, keys))

    def _key(self, session: Session, table: str, key: int) -> None:
        fresh = next(self._keys)
        self._known[table].append(fresh)
        self._set(session, table, key, "id = %s", fresh)

    def _move(self, session: Session, table: str, key: int) -> None:
        self._set(session, table, key, "owner = %s", self._chance.choice(TENANTS))

    def _hide(self, session: Session, table: str, key: int) -> None:
        self._set(session, table, key, "state = %s", "secret")

    def _set(self, session: Session, table: str, key: int, change: str, value: object) -> None:
        statement = f"update {table} set rev = nextval('chaos.rev'), {change} where id = %s"
        session.execute(statement.encode(), (value, key))

    def _delete(self, session: Session, table: str, key: int) -> None:
        session.execute(f"delete from {table} where id = %s".encode(), (key,))

    def _truncate(self, session: Session, table: str, _key: int) -> None:
        session.execute(f"truncate {table}".encode())

    def _pick(self, weights: Mapping[str, float]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]


STEPS: dict[str, Callable[[Writer, Session, str, int], None]] = {
    "update": Writer._update,
    "many": Writer._many,
    "bulk": Writer._bulk,
    "key": Writer._key,
    "move": Writer._move,
    "hide": Writer._hide,
    "delete": Writer._delete,
    "truncate": Writer._truncate,
}


def settle_prepared(database: Database) -> None:
    """End what a writer prepared and was killed before it could end it."""
    for (name,) in database.execute("select gid from pg_prepared_xacts where database = current_database()"):
        # The writer may be quicker.
        with contextlib.suppress(psycopg.errors.UndefinedObject):
            database.execute(f"commit prepared '{name}'")
