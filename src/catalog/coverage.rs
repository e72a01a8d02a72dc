//! Since when every change of a table was captured, by `rowcast.coverage` and `rowcast.note_coverage`.
//!
//! A publication that was altered, or a partition that was detached, leaves a hole in what is captured. Where it is noted in
//! the database, every engine and every later start knows of it. An engine that may not write, as on a standby, remembers it
//! for itself, and takes each start for a hole.

use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use crate::model::Lsn;

/// What the captured changes of one table depend on, and since when they are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// What the changes depend on; opaque.
    pub depends_on: Box<str>,
    /// Whether the database knows it as well.
    pub is_noted: bool,
    /// Every change that committed at or after this position was captured.
    pub whole_since: Lsn,
}

impl Coverage {
    /// `None` for a table that is not watched.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some(depends_on) = row.try_get::<_, Option<String>>("coverage")? else { return Ok(None) };
        let whole_since: Option<PgLsn> = row.try_get("whole_since")?;
        Ok(Some(Coverage {
            depends_on: depends_on.into(),
            is_noted: row.try_get("is_noted")?,
            whole_since: Lsn(whole_since.map_or(0, u64::from)),
        }))
    }

    /// What was known before holds on where nothing has changed and the database does not say since when.
    #[must_use]
    pub(super) fn keeping(self, before: &Coverage) -> Self {
        let goes_on = !self.is_noted && self.depends_on == before.depends_on;
        Coverage { whole_since: if goes_on { before.whole_since } else { self.whole_since }, ..self }
    }
}
