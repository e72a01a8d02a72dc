//! Everything in the catalog that an event's shape, visibility or presence depends on, and how a change of it is noticed.
//!
//! With event triggers, most changes are reported at their position in the stream. For some commands no event trigger
//! fires, or it does not name the table: the engine finds those changes, and all of them if there are no event triggers,
//! by reading the catalog every 2 seconds. `tests/it/capture/facts.rs` changes each fact and holds this list true.

/// How the engine notices a change where event triggers are installed. Without them it is always [`Poll`](Notice::Poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// By a message at its place in the stream.
    Stream,
    /// Within 2 seconds of its commit.
    Poll,
}

/// One kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub name: &'static str,
    /// The catalogs that keep it, whose rows the fingerprint has.
    pub kept_in: &'static str,
    /// How a change is noticed.
    pub notice: Notice,
}

const fn fact(name: &'static str, kept_in: &'static str, notice: Notice) -> Fact {
    Fact { name, kept_in, notice }
}

/// The list.
pub const FACTS: &[Fact] = &[
    // Shape.
    fact("tables and their names", "pg_class", Notice::Stream),
    fact("schemas and their names", "pg_namespace", Notice::Stream),
    fact("columns, their types, NOT NULL, collation, generation and identity", "pg_attribute", Notice::Stream),
    fact("keys and constraints", "pg_index, pg_constraint", Notice::Stream),
    fact("names of types", "pg_type", Notice::Stream),
    fact("enum labels", "pg_enum", Notice::Stream),
    fact("attributes of composite types", "pg_attribute", Notice::Stream),
    fact("domains and their constraints", "pg_type, pg_constraint", Notice::Stream),
    fact("collations", "pg_collation", Notice::Poll),
    fact("comments on tables", "pg_description", Notice::Poll),
    // Visibility.
    fact("owners of tables", "pg_class", Notice::Stream),
    fact("row security", "pg_class", Notice::Stream),
    fact("policies", "pg_policy", Notice::Stream),
    fact("what policies name", "pg_proc, pg_class, pg_attribute, pg_type, pg_operator", Notice::Stream),
    fact("what policies may be taken to name: casts and overloads", "pg_cast, pg_proc, pg_operator", Notice::Poll),
    fact("grants on tables, columns and schemas", "pg_class, pg_attribute, pg_namespace", Notice::Stream),
    fact("roles", "pg_roles", Notice::Poll),
    fact("memberships of roles", "pg_auth_members", Notice::Poll),
    fact("settings of the engine's role and of the database", "pg_db_role_setting", Notice::Poll),
    fact("the owner of the database", "pg_database", Notice::Poll),
    // Presence.
    fact("which tables are watched, and how", "rowcast.watched", Notice::Stream),
    fact("the publication, its owner and what it publishes", "pg_publication", Notice::Stream),
    fact("tables of the publication, row filters and column lists", "pg_publication_rel", Notice::Stream),
    fact("replica identity", "pg_class, pg_index", Notice::Stream),
    fact("partitions that are attached or detached, and children that join", "pg_inherits", Notice::Stream),
    fact(
        "partitions that are created, dropped or emptied, and children that leave",
        "pg_inherits, pg_class",
        Notice::Poll,
    ),
    fact("triggers and rules", "pg_trigger, pg_rewrite", Notice::Poll),
];
