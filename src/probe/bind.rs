//! Statements that ask questions: compared with the stored policies, and prepared.
//!
//! - A text is parsed with nothing but `pg_catalog` on the `search_path`, and so are the stored policies printed.
//! - What it means then is read from the tree of a temporary function, which is never run and which no other session
//!   ever sees: it is rolled back, so it keeps no object from being dropped.
//! - It is compared before anything is planned, as it was before and after the statement was parsed. What means
//!   something else is neither planned nor run: not even an immutable function of it is called.
//! - A statement that PostgreSQL would have to parse a second time is an error until it is bound a second time.

use std::collections::HashMap;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Statement};

use super::Question;
use super::error::Trouble;
use super::statement::{self, Form};

/// Distinct statements that a session keeps prepared; beyond that it drops them all. Each costs the server about ten
/// kilobytes.
const BOUND_MAX: usize = 256;

const NO_TEMPORARY: &str =
    "comparing needs the privilege TEMPORARY on the database: grant it to the user that rowcast connects as";
const DIFFERS: &str = "an operator, a cast or a polymorphic function in them is not found by its name again: name it with \
                       OPERATOR(schema.name), or call a function with exactly these argument types";

/// The statements of one session.
#[derive(Default)]
pub(super) struct Bindings {
    room: bool,
    bound: HashMap<Key, Entry>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    text: String,
    role: Box<str>,
}

struct Entry {
    bound: Option<Statement>,
    /// It has answered since it was bound.
    answered: bool,
}

impl Bindings {
    /// The statement that asks this.
    pub(super) async fn bind(
        &mut self,
        client: &ClientWrapper,
        question: &Question,
        form: Form,
    ) -> Result<Statement, Trouble> {
        let key = key(question, form);
        let known = self.bound.get(&key);
        if let Some(bound) = known.and_then(|entry| entry.bound.clone()) {
            return Ok(bound);
        }
        // A statement that was parsed again before its first answer is parsed again for each role.
        let role = known.is_some_and(|entry| !entry.answered).then_some(&*question.role);
        if self.bound.len() >= BOUND_MAX {
            self.bound.clear();
        }
        self.make_room(client).await?;
        let bound = bound(client, question, &key.text, role).await?;
        self.bound.insert(key, Entry { bound: Some(bound.clone()), answered: false });
        Ok(bound)
    }

    /// Notes whether the statement answered or was parsed again.
    pub(super) fn note(&mut self, question: &Question, form: Form, stale: bool) {
        if let Some(entry) = self.bound.get_mut(&key(question, form)) {
            entry.answered |= !stale;
            if stale {
                entry.bound = None;
            }
        }
    }

    async fn make_room(&mut self, client: &ClientWrapper) -> Result<(), Trouble> {
        if !self.room {
            let made = client.batch_execute(statement::ROOM).await;
            if let Err(error) = made {
                client.batch_execute(statement::END).await.map_err(|error| refused(&error))?;
                return Err(Trouble::of(&error, |_| Trouble::Unbound(NO_TEMPORARY)));
            }
            self.room = true;
        }
        Ok(())
    }
}

fn key(question: &Question, form: Form) -> Key {
    Key { text: statement::of(question, form), role: question.role.clone() }
}

/// In one transaction, which is rolled back; a prepared statement stays.
async fn bound(
    client: &ClientWrapper,
    question: &Question,
    text: &str,
    role: Option<&str>,
) -> Result<Statement, Trouble> {
    client.batch_execute(statement::WRITE).await.map_err(|error| refused(&error))?;
    let bound = compared(client, question, text, role).await;
    client.batch_execute(statement::END).await.map_err(|error| refused(&error))?;
    bound
}

/// All requests leave before the first answer is awaited: the shorter the time between two parses, the less can change
/// in between and back.
async fn compared(
    client: &ClientWrapper,
    question: &Question,
    text: &str,
    role: Option<&str>,
) -> Result<Statement, Trouble> {
    let specimen = statement::specimen(&question.table, &question.condition);
    let (before, set, statement, reset, after) = tokio::join!(
        biased;
        tree(client, &specimen),
        become_role(client, role),
        client.prepare_typed(text, &[Type::TEXT]),
        client.batch_execute("reset role"),
        tree(client, &specimen),
    );
    let before = before?;
    set?;
    let statement = statement.map_err(|error| refused(&error))?;
    reset.map_err(|error| refused(&error))?;
    let means = |tree: &str| question.binding.as_ref().is_none_or(|binding| binding.is_of(tree));
    if means(&before) && means(&after?) { Ok(statement) } else { Err(Trouble::Unbound(DIFFERS)) }
}

/// What the condition means, as it is parsed now.
async fn tree(client: &ClientWrapper, specimen: &str) -> Result<String, Trouble> {
    let (made, rows) = tokio::join!(
        biased;
        client.batch_execute(specimen),
        client.query_typed(statement::TREE, &[]),
    );
    made.map_err(|error| refused(&error))?;
    let rows = rows.map_err(|error| refused(&error))?;
    let tree = rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| refused(&error))?;
    tree.ok_or(Trouble::Unbound(DIFFERS))
}

async fn become_role(client: &ClientWrapper, role: Option<&str>) -> Result<(), Trouble> {
    let Some(role) = role else { return Ok(()) };
    let set = client.query_typed(statement::AS, &[(&role, Type::TEXT)]).await;
    set.map(drop).map_err(|error| Trouble::of(&error, Trouble::Role))
}

fn refused(error: &Error) -> Trouble {
    Trouble::of(error, Trouble::Condition)
}
