//! One change before one principal: found by the index, held against the gate, asked about and encoded as live.

use std::sync::Arc;

use super::Case;
use super::image::Sent;
use super::report::{Condition, Delegated, Image, Row, Told};
use crate::engine::deliver::{self, decided, policies};
use crate::engine::serve;
use crate::failure::Failure;
use crate::graphql::{CompiledSubscription, Operation as Compiled, Request};
use crate::matcher::{Match, Matcher, Scratch};
use crate::model::{Change, Event, Operation, Position, RowChange, SubscriptionId, Table, Transition, Tuple};
use crate::payload;
use crate::predicate::{RowImage, Truth};
use crate::probe::{self, Probe, RowVerdict};
use crate::security::{Admission, Inspection, Judged, Question, Standing, Visible, predicate_sql};

/// A subscription to everything that the principal may read, as it would be live.
pub(super) struct Subscription {
    compiled: CompiledSubscription,
    admission: Admission,
    condition: deliver::Condition,
}

/// One image and what is known of it.
struct Judgement {
    image: Image,
    truth: Truth,
}

impl Case<'_> {
    /// Compiled and admitted as a client's own.
    pub(super) fn subscription(&self) -> Result<Subscription, Failure> {
        let request = Request { query: self.document(), ..Request::default() };
        let Compiled::Subscription(compiled) = self.live.schema.compile(&request)? else {
            return Err(Failure::new("OPERATION_NOT_SUPPORTED", "the table's field is no subscription"));
        };
        let field = self.live.field(compiled.field);
        let admitted = serve::admit(self.core, &self.live, self.principal, field, &compiled)?;
        let condition =
            admitted.condition.ok_or_else(|| Failure::new("UNKNOWN_TABLE", "the field is not of a table"))?;
        Ok(Subscription { compiled: *compiled, admission: admitted.admission, condition })
    }

    fn document(&self) -> String {
        let readable = self.columns().readable;
        let field = |index: usize| readable.contains(&self.table.columns[index].name).then(|| self.field_name(index));
        let row: Vec<_> = (0..self.table.columns.len()).filter_map(field).collect();
        let key: Vec<_> = self.table.key.iter().filter_map(|index| field(*index)).collect();
        let key = if key.is_empty() { String::new() } else { format!("key {{ {} }}", key.join(" ")) };
        format!(
            "subscription {{ {} {{ operation transition changed {key} row {{ {} }} }} }}",
            self.table.field,
            row.join(" ")
        )
    }

    fn field_name(&self, index: usize) -> &str {
        &self.table.columns[index].field
    }

    /// What the engine would deliver for the change; if nothing, which rule hides it.
    pub(super) async fn row(&self, sent: Sent, probe: &Probe) -> Row {
        let Sent { operation, old, new, notes } = sent;
        let mut row = Row { operation: operation.name(), notes, ..Row::default() };
        let modules = self.modules();
        if let Some(module) = modules.iter().find(|module| !module.admitted) {
            row.why_not = Some(format!("module {} refuses the subscription", module.name));
            return row;
        }
        match self.subscription() {
            Ok(subscription) => {
                let change = RowChange { table: Arc::clone(&self.table), operation, old, new };
                self.judge(&subscription, change.clone(), probe, &mut row).await;
                if let (Some(Transition::Stay), Some(halves)) = (row.meant, change.halves()) {
                    self.judge_halves(&subscription, halves, probe, &mut row).await;
                }
            }
            Err(failure) => row.why_not = Some(format!("{failure} ({})", failure.code())),
        }
        row
    }

    /// A row that is in view before and after under another key each is delivered twice.
    async fn judge_halves(&self, subscription: &Subscription, halves: [RowChange; 2], probe: &Probe, row: &mut Row) {
        let [mut departure, mut arrival] = [Row::default(), Row::default()];
        let [before, after] = halves;
        self.judge(subscription, before, probe, &mut departure).await;
        self.judge(subscription, after, probe, &mut arrival).await;
        (row.left, row.told) = (departure.told, arrival.told);
        row.transition = arrival.transition;
        row.notes.push("the key changed: the row leaves under its old key and enters under its new one".to_owned());
    }

    async fn judge(&self, subscription: &Subscription, change: RowChange, probe: &Probe, row: &mut Row) {
        let found = subscription.found(&change);
        let event = Event {
            position: Position::default(),
            committed_at: self.core.clock.date(),
            xid: 0,
            change: Change::Row(change.clone()),
        };
        let inspection = Inspection::new(&event);
        let (old, new) = inspection.standing(&subscription.admission);
        let wanted = |truth: fn(&Match) -> Truth| found.as_ref().is_some_and(|found| truth(found).is_true());
        let old = self.image(subscription, change.old.as_ref(), old, wanted(|found| found.old), probe).await;
        let new = self.image(subscription, change.new.as_ref(), new, wanted(|found| found.new), probe).await;
        let judged = Judged { old: truth_of(old.as_ref()), new: truth_of(new.as_ref()) };
        let meant = found.and_then(|found| subscription.transition(change.operation, &found, judged));
        let visible = meant.and_then(|meant| inspection.visible(&subscription.admission, meant, judged));
        row.why_not = match (&found, &visible) {
            (_, Some(_)) => None,
            (None, None) if !subscription.condition.operations.contains(change.operation) => {
                Some(format!("the field does not give {}", change.operation.name()))
            }
            _ if meant == Some(Transition::Stay) && is_in_view(new.as_ref()) => Some(HIDDEN_UPDATE.to_owned()),
            _ => Some(why_not(change.operation, old.as_ref(), new.as_ref())),
        };
        row.meant = visible.as_ref().map(Visible::transition);
        row.transition = row.meant.map(Transition::name);
        row.told = visible.map(|visible| self.told(subscription, &visible));
        (row.old, row.new) = (old.map(|old| old.image), new.map(|new| new.image));
    }

    async fn image(
        &self,
        subscription: &Subscription,
        tuple: Option<&Tuple>,
        standing: Standing<'_>,
        wanted: bool,
        probe: &Probe,
    ) -> Option<Judgement> {
        let tuple = tuple?;
        let tenant = self.tenant_predicate().map(|predicate| predicate.eval(&RowImage::new(&self.table, tuple)));
        let (truth, delegated) = match (standing, subscription.admission.question()) {
            (Standing::Known(truth), _) => (truth, None),
            (Standing::Ask(tuple), Some(question)) if wanted => {
                let (truth, delegated) = put(&self.table, tuple, question, probe).await;
                (truth, Some(delegated))
            }
            (Standing::Ask(_), _) => (Truth::Unavailable, Some(not_evaluated("another module had said no"))),
        };
        let names = self.table.columns.iter().zip(tuple.values());
        let absent = names.filter(|(_, datum)| !datum.is_known()).map(|(column, _)| column.name.clone()).collect();
        let refused_by = match tenant {
            Some(tenant) if !tenant.is_true() => Some("tenant"),
            _ => (!truth.is_true()).then_some("row_policy"),
        };
        let (tenant, row_policy) = (tenant.map(word), word(truth));
        let image = Image { absent, tenant, row_policy, delegated, in_view: refused_by.is_none(), refused_by };
        Some(Judgement { image, truth })
    }

    fn told(&self, subscription: &Subscription, visible: &Visible<'_>) -> Told {
        let readable = |index: &usize| visible.columns().contains(*index);
        let names = |indexes: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            indexes.filter(|index| readable(index)).map(|index| self.table.columns[index].name.clone()).collect()
        };
        let is_key = visible.transition() == Transition::Leave;
        let columns =
            if is_key { names(&mut self.table.key.iter().copied()) } else { names(&mut (0..self.table.columns.len())) };
        let mut scratch = payload::Scratch::default();
        let body = self.core.encoder.event_body(&subscription.compiled.plan, visible, "", &mut scratch);
        Told {
            what: if is_key { "key" } else { "row" },
            columns,
            changed: names(&mut visible.changed_columns()),
            payload: body.and_then(|body| serde_json::from_slice(body.json()).ok()),
        }
    }
}

impl Subscription {
    /// How the index finds it.
    pub(super) fn found_by(&self, table: &Arc<Table>) -> Condition {
        let stats = self.matcher(table).stats();
        let places = [
            (stats.equality, "equality"),
            (stats.range, "range"),
            (stats.always, "always"),
            (stats.residual, "residual"),
        ];
        Condition {
            sql: predicate_sql(table, &self.condition.predicate, true),
            index: places.iter().find(|(count, _)| *count > 0).map_or("never", |(_, name)| name),
            delegated: self.admission.question().is_some(),
        }
    }

    fn found(&self, change: &RowChange) -> Option<Match> {
        self.matcher(&change.table).matches(change, &mut Scratch::default()).first().copied()
    }

    fn matcher(&self, table: &Arc<Table>) -> Matcher {
        let mut matcher = Matcher::new();
        matcher.insert(SubscriptionId(0), table, &self.condition.predicate, self.condition.operations);
        matcher
    }

    /// Where PostgreSQL is asked, its word joins the index's.
    fn transition(&self, operation: Operation, found: &Match, judged: Judged) -> Option<Transition> {
        match self.admission.question() {
            Some(_) => decided(operation, found.old, found.new, judged),
            None => Some(found.transition),
        }
    }
}

/// One image alone: what is said of it is about nothing else.
async fn put(table: &Table, tuple: &Tuple, question: &Arc<Question>, probe: &Probe) -> (Truth, Delegated) {
    let Some(image) = probe::image(table, tuple, &question.reads) else {
        let says = "the policies read a column that the image does not carry";
        return (Truth::Unavailable, Delegated { answer: "incomplete", sqlstate: None, says: Some(says.to_owned()) });
    };
    let answer = probe.ask(question, &[image.into()]).await;
    let truth = policies::truths(&answer, 1).into_iter().flatten().next().unwrap_or(Truth::Unavailable);
    let plain = |answer| Delegated { answer, sqlstate: None, says: None };
    let delegated = match answer.map(|verdicts| verdicts.into_iter().next().unwrap_or(RowVerdict::Unasked)) {
        Ok(RowVerdict::Visible) => plain("visible"),
        Ok(RowVerdict::Hidden) => plain("hidden"),
        Ok(RowVerdict::Raised(sqlstate)) => Delegated { sqlstate: Some(sqlstate), ..plain("raised") },
        Ok(RowVerdict::TimedOut) => plain("timed_out"),
        Ok(RowVerdict::Unasked) => not_evaluated("its turn did not come"),
        Err(error) => Delegated { says: Some(format!("{error} ({})", error.code())), ..plain("failed") },
    };
    (truth, delegated)
}

fn not_evaluated(why: &str) -> Delegated {
    Delegated { answer: "not evaluated", sqlstate: None, says: Some(why.to_owned()) }
}

fn truth_of(judgement: Option<&Judgement>) -> Truth {
    judgement.map_or(Truth::Unavailable, |judgement| judgement.truth)
}

fn word(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Unknown => "null",
        Truth::Unavailable => "unavailable",
    }
}

/// The gate lets every other change of a row that stays in view pass.
const HIDDEN_UPDATE: &str = "the update changed only columns that the role may not read";

fn is_in_view(judgement: Option<&Judgement>) -> bool {
    judgement.is_some_and(|judgement| judgement.image.in_view)
}

/// For a deleted row the old image decides, for every other row the new one; its old image can only make it leave.
fn why_not(operation: Operation, old: Option<&Judgement>, new: Option<&Judgement>) -> String {
    let (name, judgement) = if operation == Operation::Delete { ("old", old) } else { ("new", new) };
    let refused_by = |judgement: Option<&Judgement>| judgement.and_then(|judgement| judgement.image.refused_by);
    let was = match (operation, old) {
        (Operation::Update, None) => ", and whether it was in view before is not known",
        (Operation::Update, Some(_)) => ", and it was not in view before",
        _ => "",
    };
    match refused_by(judgement) {
        Some(module) => format!("module {module} does not show the {name} row{was}"),
        None => format!("the {name} row is not carried by the stream"),
    }
}
