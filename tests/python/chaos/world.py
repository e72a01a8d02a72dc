"""The tables under test and the record that the database keeps of them by itself.

Every change of a row is noted by a trigger in the same transaction, with both images; a logical slot that is made
before anything is written tells the order in which those transactions committed. Neither knows of rowcast.
"""

from dataclasses import dataclass

from rig.postgres import Database

TENANTS = ("red", "green", "blue")
"""Tenants and, on tables with row policies, owners."""

STATES = ("open", "busy", "done", "secret")

TABLES = ("tasks", "notes", "files")
"""`tasks` has a tenant column, `notes` a policy that is compiled, `files` one that PostgreSQL has to be asked about."""

OWN = "owner = current_setting('app.user', true)"
POLICIES = (OWN, f"{OWN} and state <> 'secret'")
"""What the policy of `notes` says, by version: the suite goes from one to the other and back in mid-stream."""

SLOT = "chaos_witness"

TABLE = """
create table {table} (
    id bigint primary key, owner text not null, state text not null, rev bigint not null, body text not null
);
create trigger noted after insert or update or delete on {table} for each row execute function chaos.note();
create trigger noted_truncate after truncate on {table} execute function chaos.note();
alter table {table} enable always trigger noted;
alter table {table} enable always trigger noted_truncate;
"""

SCHEMA = f"""
create schema chaos;
create sequence chaos.rev;
create table chaos.history (
    id bigint generated always as identity primary key, xid xid8 not null default pg_current_xact_id(),
    tab text not null, op text not null, old jsonb, new jsonb
);
create function chaos.image(row_image jsonb) returns jsonb language sql immutable as
    $$ select row_image || jsonb_build_object('body', md5(row_image ->> 'body')) $$;
create function chaos.note() returns trigger language plpgsql as $$
begin
    insert into chaos.history (tab, op, old, new) values (
        tg_table_name, tg_op,
        case when tg_op in ('UPDATE', 'DELETE') then chaos.image(to_jsonb(old)) end,
        case when tg_op in ('INSERT', 'UPDATE') then chaos.image(to_jsonb(new)) end
    );
    return null;
end $$;
{"".join(TABLE.format(table=table) for table in TABLES)}
create table people (name text primary key);
insert into people select unnest(array{list(TENANTS)!r});
alter table notes enable row level security;
alter table files enable row level security;
create publication chaos_witness for table chaos.history;
"""

WINDOWS = """
create table chaos.windows (first pg_lsn not null, xids xid8[] not null);
create function chaos.note_window() returns trigger language plpgsql security definer as $$
begin
    insert into chaos.windows values (new.first, new.xids);
    return null;
end $$;
create trigger noted after insert on rowcast.outbox_window for each row execute function chaos.note_window();
create function chaos.place() returns trigger language plpgsql as $$
begin
    if (select count(*) < 4 from pg_trigger where tgrelid = tg_relid and tgname ~ '^rowcast' and tgenabled = 'A') then
        perform rowcast.publish('chaos', 'null');
    end if;
    return null;
end $$;
""" + "".join(
    f"""
create trigger placed after insert or update or delete or truncate on {table} execute function chaos.place();
alter table {table} enable always trigger placed;
"""
    for table in TABLES
)
"""Which order an outbox gave to transactions that did not wait for each other is its own to say; `history` holds it
against the order of commits wherever two have changed one row. A transaction that an administrator kept the outbox from
capturing gets a place there by a message."""

READER = """
create role {role};
create policy own on notes for select to {role} using ({own});
create policy own on files for select to {role} using (
    exists (select from people p where p.name = files.owner and p.name = current_setting('app.user', true)));
grant select on tasks, notes, files, people to {role};
"""


@dataclass(frozen=True)
class World:
    """One database with the tables, and the role that its readers have."""

    database: Database
    role: str

    def open(self) -> "World":
        """Create everything; what is written from now on is on record."""
        self.database.execute(SCHEMA)
        # A walsender whose other end has gone in silence lets go of the slot sooner than after a minute.
        self.database.execute(f"alter database {self.database.name} set wal_sender_timeout = '8s'")
        self.database.execute(READER.format(role=self.role, own=POLICIES[0]))
        self.database.execute(f"select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
        return self

    def note_windows(self) -> None:
        """From now on windows of the outbox are on record too."""
        self.database.execute(WINDOWS)

    def close(self) -> None:
        """Give back what the whole cluster sees."""
        for (name,) in self.database.execute("select gid from pg_prepared_xacts where database = current_database()"):
            self.database.execute(f"rollback prepared '{name}'")
        self.database.execute(f"drop owned by {self.role}; drop role {self.role}")
