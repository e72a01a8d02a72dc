//! The rows of a snapshot on their way to one subscriber: judged as events are, at the pace of its reader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::snapshot::Fence;
use super::{CatchUp, GLANCE};
use crate::engine::deliver::{Condition, Source, Stamp, Subscription, Telling};
use crate::failure::Failure;
use crate::model::{Change, Datum, Event, Operation, Position, RowChange, Table, Transition, Tuple};
use crate::predicate::{RowImage, Truth};
use crate::probe::{Pages, RowVerdict, Texts, image};
use crate::security::{Inspection, Judged, Question, Standing};

/// A page of ordinary rows has about so many bytes.
const PAGE_BYTES: usize = 128 * 1024;
const ROWS_MAX: usize = 512;
/// Nothing is known of the first rows' size.
const ROWS_FIRST: usize = 16;
/// The transaction holds back the server's cleaning: a reader that stands still does not keep it.
const STALLED: Duration = Duration::from_secs(30);

/// A row, and what PostgreSQL says of it if it was asked.
struct Row {
    event: Arc<Event>,
    judged: Judged,
}

impl CatchUp {
    /// Delivers all rows. False if the subscription ended first.
    pub(super) async fn tell_rows(&self, pages: &mut Pages, fence: &Fence) -> Result<bool, Failure> {
        let columns = self.columns();
        let mut rows = ROWS_FIRST;
        loop {
            let texts = pages.page(rows).await?;
            let Some((subscription, Some(condition))) = self.held() else { return Ok(false) };
            if !is_of(&subscription, &fence.table) || self.columns() != columns {
                return Err(Failure::new("SCHEMA_CHANGED", "the table has changed while it was read: subscribe again"));
            }
            let is_last = texts.len() < rows;
            rows = next_rows(rows, &texts);
            for row in self.judged(&subscription, &condition, fence, &columns, texts).await? {
                self.wait_for_reader(&subscription).await?;
                self.tell_row(&subscription, &row);
            }
            if is_last {
                return Ok(true);
            }
        }
    }

    /// What of the table its principal may read, by index.
    fn columns(&self) -> Vec<usize> {
        let Some((subscription, _)) = self.held() else { return Vec::new() };
        let Source::Table(table) = &subscription.source else { return Vec::new() };
        let columns = subscription.admission.columns();
        (0..table.columns.len()).filter(|index| columns.contains(*index)).collect()
    }

    /// The rows that the condition and the policies let through.
    async fn judged(
        &self,
        subscription: &Subscription,
        condition: &Condition,
        fence: &Fence,
        columns: &[usize],
        texts: Vec<Texts>,
    ) -> Result<Vec<Row>, Failure> {
        let rows = texts.into_iter().map(|texts| tuple(&fence.table, columns, texts));
        let meant = rows.filter(|tuple| condition.predicate.eval(&RowImage::new(&fence.table, tuple)).is_true());
        let mut rows: Vec<Row> = meant.map(|tuple| Row { event: event(fence, tuple), judged: Judged::NOT }).collect();
        if let Some(question) = subscription.admission.question() {
            self.ask(subscription, question, &fence.table, &mut rows).await?;
        }
        Ok(rows)
    }

    /// PostgreSQL has hidden rows already, in the formats of the stream; a policy that looks at the session's time zone
    /// is asked as for events, so that both say the same.
    async fn ask(
        &self,
        subscription: &Subscription,
        question: &Arc<Question>,
        table: &Table,
        rows: &mut [Row],
    ) -> Result<(), Failure> {
        let (mut asked, mut images) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter_mut().enumerate() {
            let (_, standing) = Inspection::new(&row.event).standing(&subscription.admission);
            match standing {
                Standing::Known(truth) => row.judged.new = truth,
                Standing::Ask(tuple) => {
                    if let Some(json) = image(table, tuple, &question.reads) {
                        asked.push(at);
                        images.push(Arc::from(json));
                    }
                }
            }
        }
        for (at, truth) in asked.into_iter().zip(self.verdicts(question, images).await?) {
            rows[at].judged.new = truth;
        }
        Ok(())
    }

    /// Asks until each is decided; a policy that is too slow for even one is the end.
    async fn verdicts(&self, question: &Arc<Question>, images: Vec<Arc<str>>) -> Result<Vec<Truth>, Failure> {
        let mut truths = Vec::with_capacity(images.len());
        let Some(probe) = self.core.by_key.get().filter(|_| !images.is_empty()) else { return Ok(truths) };
        while truths.len() < images.len() {
            let verdicts = probe.ask(question, &images[truths.len()..]).await?;
            let decided = verdicts.iter().map_while(truth);
            let before = truths.len();
            truths.extend(decided);
            if truths.len() == before {
                let message = format!("the row policies of {} did not answer within policy_timeout_s", question.table);
                return Err(Failure::new("POLICY_TIMEOUT", message));
            }
        }
        Ok(truths)
    }

    async fn wait_for_reader(&self, subscription: &Subscription) -> Result<(), Failure> {
        let deadline = Instant::now() + STALLED;
        while !subscription.has_room() && self.held().is_some() {
            if Instant::now() >= deadline {
                let message = "the rows were not read for too long: subscribe again";
                return Err(Failure::new("SNAPSHOT_STALLED", message));
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    fn tell_row(&self, subscription: &Arc<Subscription>, row: &Row) {
        self.core.metrics.snapshot_rows_total.add(1);
        let mut telling = Telling::stamped(&self.core, &row.event, Stamp::nowhere(row.event.committed_at));
        telling.tell_judged(subscription, Transition::Enter, row.judged);
        telling.finish();
    }
}

fn is_of(subscription: &Subscription, table: &Arc<Table>) -> bool {
    matches!(&subscription.source, Source::Table(of) if Arc::ptr_eq(of, table))
}

/// What the role may not read is not there.
fn tuple(table: &Table, columns: &[usize], texts: Texts) -> Tuple {
    let mut values = vec![Datum::Absent; table.columns.len()];
    for (index, text) in columns.iter().zip(texts) {
        values[*index] = text.map_or(Datum::Null, |text| Datum::Text(text.into()));
    }
    Tuple::new(values)
}

fn event(fence: &Fence, tuple: Tuple) -> Arc<Event> {
    let table = Arc::clone(&fence.table);
    let change = RowChange { table, operation: Operation::Snapshot, old: None, new: Some(tuple) };
    Arc::new(Event { position: Position::default(), committed_at: fence.at, xid: 0, change: Change::Row(change) })
}

/// `None` for what was not decided.
fn truth(verdict: &RowVerdict) -> Option<Truth> {
    match verdict {
        RowVerdict::Visible => Some(Truth::True),
        RowVerdict::Hidden | RowVerdict::Raised(_) => Some(Truth::False),
        RowVerdict::TimedOut | RowVerdict::Unasked => None,
    }
}

/// As many as make a page, judged by the last; in doubt few.
fn next_rows(rows: usize, texts: &[Texts]) -> usize {
    let bytes: usize = texts.iter().flatten().flatten().map(String::len).sum();
    let fit = PAGE_BYTES * texts.len() / bytes.max(1);
    fit.clamp(1, ROWS_MAX).min(rows * 4)
}
