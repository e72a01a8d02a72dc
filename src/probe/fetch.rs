//! Reads rows by key as one role. PostgreSQL itself applies grants and policies.
//!
//! A row is returned if two statements of one transaction both see it. The first runs under the session's own settings,
//! as delegated policies do. The second runs with the formats of the replication stream, in which values are read. A
//! policy that reads the session's time zone can hide more rows this way, never show more.

use std::collections::{BTreeMap, HashMap};

use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::error::Trouble;
use super::reading::{Compared, FORMATS, blame, compared, lost, set, text, told};
use super::session::{Names, ProbeSession};
use super::statement::{qualified, quoted};
use super::{Probe, ProbeError};
use crate::model::Table;

/// What to read, and as whom.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// The table.
    pub table: &'a Table,
    /// The columns to read, as indexes.
    pub columns: &'a [usize],
    /// A JSON array of objects, each with a value for each column of the key.
    pub keys: String,
    /// The tenant that the rows must belong to: the value of the table's tenant column. Without one a table that has
    /// such a column gives nothing.
    pub tenant: Option<&'a str>,
    /// The role to read as; without one as rowcast's own user.
    pub role: Option<&'a str>,
    /// Settings that policies read.
    pub settings: &'a BTreeMap<String, String>,
}

/// How columns are compared, by their names.
type Operators = HashMap<String, Compared>;

/// A row's place among the keys, from 0, and its columns in text form.
pub type Fetched = (usize, Vec<Option<String>>);

impl Probe {
    /// The rows that exist and are visible, in any order, at most one for each key.
    pub async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Vec<Fetched>, ProbeError> {
        let names = Names::these(fetch.settings.keys().map(String::as_str));
        let mut lease = self.session(&names).await?;
        let Some(session) = lease.session() else { return Err(lost("it is closed".to_owned())) };
        session.remember(&names);
        let Ok(outcome) = timeout_at(Instant::now() + self.patience(), fetch.transact(session)).await else {
            return Err(lost("it did not answer in time".to_owned()));
        };
        let outcome =
            outcome.map_err(|trouble| blame(&fetch.table.name.to_string(), fetch.role.unwrap_or_default(), trouble));
        if !matches!(outcome, Err(ProbeError::ConnectionLost { .. })) {
            lease.give_back();
        }
        Ok(once(outcome?))
    }
}

impl Fetch<'_> {
    /// Always ends its transaction. If it cannot, the session is lost.
    async fn transact(&self, session: &ProbeSession) -> Result<Vec<Fetched>, Trouble> {
        let lost = |error: Error| Trouble::of(&error, |code| Trouble::Lost(format!("SQLSTATE {code}")));
        session.client.execute(&session.begin, &[]).await.map_err(lost)?;
        let rows = self.read(session).await;
        session.client.execute(&session.end, &[]).await.map_err(lost)?;
        rows
    }

    async fn read(&self, session: &ProbeSession) -> Result<Vec<Fetched>, Trouble> {
        let role = self.role.map(|role| ("role", role));
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        set(session, role.into_iter().chain(settings)).await?;
        let compared = compared(session, self.table, self.table.key.iter().copied().chain(self.table.tenant)).await?;
        let visible = self.query(session, &compared, "e.n").await?;
        let visible: Vec<i64> =
            visible.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| told(&error))?;
        set(session, FORMATS.into_iter()).await?;
        let columns = self.columns.iter().map(|index| text(self.table, *index));
        let columns: Vec<_> = std::iter::once("e.n".to_owned()).chain(columns).collect();
        let rows = self.query(session, &compared, &columns.join(", ")).await?;
        let rows =
            rows.iter().map(|row| self.fetched(row)).collect::<Result<Vec<_>, _>>().map_err(|error| told(&error))?;
        Ok(rows.into_iter().filter(|(n, _)| visible.contains(n)).map(|(n, row)| (place(n), row)).collect())
    }

    async fn query(&self, session: &ProbeSession, compared: &Operators, columns: &str) -> Result<Vec<Row>, Trouble> {
        let tenant = self.tenant_json();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&self.keys, Type::TEXT), (&tenant, Type::TEXT)];
        let rows = session.client.query_typed(&self.statement(compared, columns), &parameters).await;
        rows.map_err(|error| Trouble::of(&error, Trouble::Condition))
    }

    /// Keys and tenant become values of the table's own types, by their input functions.
    fn statement(&self, compared: &Operators, columns: &str) -> String {
        let table = qualified(&self.table.name);
        let equal = |index: usize, side: &str| {
            let name = &self.table.columns[index].name;
            // A column that is gone has none, and the statement fails for it.
            let operator = compared.get(name).map_or("=", |compared| &*compared.operator);
            let column = quoted(name);
            format!("t.{column} {operator} {side}.{column}")
        };
        // Without a tenant this is null, and nothing equals that.
        let tenant = self.table.tenant.map(|index| equal(index, "p"));
        let on: Vec<_> = self.table.key.iter().map(|index| equal(*index, "k")).chain(tenant).collect();
        format!(
            "select {columns} from pg_catalog.json_array_elements($1::pg_catalog.json) with ordinality as e (v, n) \
             cross join lateral pg_catalog.json_populate_record(null::{table}, e.v) as k \
             cross join pg_catalog.json_populate_record(null::{table}, $2::pg_catalog.json) as p \
             join {table} as t on {}",
            on.join(" and ")
        )
    }

    fn tenant_json(&self) -> String {
        let column = self.table.tenant.map(|index| self.table.columns[index].name.clone());
        let values = column.zip(self.tenant).map(|(name, tenant)| (name, tenant.into()));
        serde_json::Value::Object(values.into_iter().collect()).to_string()
    }

    fn fetched(&self, row: &Row) -> Result<(i64, Vec<Option<String>>), Error> {
        let columns = (0..self.columns.len()).map(|at| row.try_get(at + 1)).collect::<Result<_, _>>()?;
        Ok((row.try_get(0)?, columns))
    }
}

/// Ordinality counts from 1.
fn place(n: i64) -> usize {
    usize::try_from(n - 1).unwrap_or(usize::MAX)
}

/// A key that more than one row has (a table that others inherit from) names none.
fn once(mut rows: Vec<Fetched>) -> Vec<Fetched> {
    rows.sort_unstable_by_key(|(place, _)| *place);
    let places: Vec<usize> = rows.iter().map(|(place, _)| *place).collect();
    let alone = |at: usize| (at == 0 || places[at - 1] != places[at]) && places.get(at + 1) != Some(&places[at]);
    rows.into_iter().enumerate().filter(|(at, _)| alone(*at)).map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::once;

    #[test]
    fn a_key_of_several_rows_names_none() {
        let rows = [2, 0, 1, 2, 4].map(|place| (place, Vec::new())).to_vec();
        assert_eq!(once(rows).iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 1, 4]);
    }
}
