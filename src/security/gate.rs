//! The order of the modules, and the one place where a [`Visible`] is made.

use std::cell::OnceCell;

use super::tenant::{self, TopicRule};
use super::{Image, Refusal, Visible, row_policy};
use crate::model::{Change, Event, Principal, RowChange, Table, Transition, Tuple};
use crate::predicate::{Predicate, RowImage};

/// A principal's right to one table or topic, granted at subscribe.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission(Rule);

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Rows(Option<Predicate>),
    Topic(TopicRule),
}

/// Asks the modules that decide about a table, in order.
pub fn admit_table(principal: &Principal, table: &Table) -> Result<Admission, Refusal> {
    row_policy::admit(table)?;
    Ok(Admission(Rule::Rows(tenant::admit(principal, table)?)))
}

/// The same for a topic; `public` as its field was declared.
pub fn admit_topic(principal: &Principal, topic: &str, public: bool) -> Result<Admission, Refusal> {
    Ok(Admission(Rule::Topic(TopicRule::admit(principal, topic, public)?)))
}

impl Admission {
    /// What every row must meet, for the index.
    pub fn condition(&self) -> Option<&Predicate> {
        match &self.0 {
            Rule::Rows(condition) => condition.as_ref(),
            Rule::Topic(_) => None,
        }
    }

    /// Whether one event may be shown to principals of several tenants.
    pub fn spans_tenants(&self) -> bool {
        match &self.0 {
            Rule::Rows(condition) => condition.is_none(),
            Rule::Topic(rule) => rule.is_public(),
        }
    }

    /// Whose messages of its topic are shown, for the index: a tenant's, or with `None` those for everybody.
    pub fn audiences(&self) -> Vec<Option<Box<str>>> {
        match &self.0 {
            Rule::Rows(_) => Vec::new(),
            Rule::Topic(rule) => rule.audiences(),
        }
    }
}

/// One event before the gate. Its columns are read once for all admissions.
pub struct Inspection<'a> {
    event: &'a Event,
    old: OnceCell<RowImage<'a>>,
    new: OnceCell<RowImage<'a>>,
}

impl<'a> Inspection<'a> {
    /// Nothing is read yet.
    pub fn new(event: &'a Event) -> Self {
        Inspection { event, old: OnceCell::new(), new: OnceCell::new() }
    }

    /// The event as this admission may see it. The image that is delivered is the one that is judged: the new one of a
    /// row in view, the old one of a row that left.
    pub fn visible(&self, admission: &Admission, transition: Transition) -> Option<Visible<'a>> {
        let image = match (&self.event.change, &admission.0) {
            (Change::Row(change), Rule::Rows(condition)) => self.row(change, condition.as_ref(), transition)?,
            // That the table was emptied tells of no row.
            (Change::Truncate(_), Rule::Rows(_)) => Image::None,
            (Change::Message(message), Rule::Topic(rule)) if rule.shows(message) => Image::None,
            (Change::Row(_) | Change::Truncate(_) | Change::Message(_), Rule::Rows(_) | Rule::Topic(_)) => return None,
        };
        Some(Visible::new(self.event, image, transition))
    }

    fn row(&self, change: &'a RowChange, condition: Option<&Predicate>, transition: Transition) -> Option<Image<'a>> {
        match transition {
            Transition::Enter | Transition::Stay => {
                let tuple = change.new.as_ref()?;
                holds(condition, &self.new, change, tuple).then_some(Image::Row(change, tuple))
            }
            Transition::Leave => {
                let tuple = change.old.as_ref()?;
                holds(condition, &self.old, change, tuple).then_some(Image::Key(change, tuple))
            }
        }
    }
}

/// Unknown is no.
fn holds<'a>(
    condition: Option<&Predicate>,
    image: &OnceCell<RowImage<'a>>,
    change: &'a RowChange,
    tuple: &'a Tuple,
) -> bool {
    condition
        .is_none_or(|condition| condition.eval(image.get_or_init(|| RowImage::new(&change.table, tuple))).is_true())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Column, Datum, Message, Operation, PgType, Position, ReplicaIdentity, TableName, Timestamp};

    const ACME: &str = "11111111-1111-1111-1111-111111111111";
    const GLOBEX: &str = "22222222-2222-2222-2222-222222222222";

    fn table() -> Table {
        let column = |name: &str, pg_type| Column {
            name: name.into(),
            field: name.into(),
            type_oid: 0,
            pg_type,
            not_null: true,
        };
        Table {
            oid: 1,
            name: TableName { schema: "public".into(), name: "orders".into() },
            type_name: "Orders".into(),
            field: "orders".into(),
            columns: [column("id", PgType::Int8), column("tenant_id", PgType::Uuid)].into(),
            key: [0].into(),
            tenant: Some(1),
            public: false,
            access: crate::model::Access::default(),
            identity: ReplicaIdentity::Full,
            comment: None,
        }
    }

    fn principal(tenant: &str) -> Principal {
        Principal { tenant_id: Some(tenant.into()), ..Principal::default() }
    }

    fn row(id: &'static str, tenant: &'static str) -> Tuple {
        Tuple::new(vec![
            Datum::Text(Bytes::from_static(id.as_bytes())),
            Datum::Text(Bytes::from_static(tenant.as_bytes())),
        ])
    }

    fn event(change: Change) -> Event {
        Event { position: Position::default(), committed_at: Timestamp(0), xid: 1, change }
    }

    fn update(old: Option<Tuple>, new: Option<Tuple>) -> Event {
        event(Change::Row(RowChange { table: Arc::new(table()), operation: Operation::Update, old, new }))
    }

    fn sees(event: &Event, tenant: &str, transition: Transition) -> bool {
        let admission = admit_table(&principal(tenant), &table()).unwrap();
        Inspection::new(event).visible(&admission, transition).is_some()
    }

    #[test]
    fn a_row_is_shown_to_its_own_tenant_alone() {
        let moved = update(Some(row("1", ACME)), Some(row("1", GLOBEX)));
        assert!(sees(&moved, ACME, Transition::Leave) && !sees(&moved, ACME, Transition::Stay));
        assert!(sees(&moved, GLOBEX, Transition::Enter) && !sees(&moved, GLOBEX, Transition::Leave));
    }

    #[test]
    fn a_tenant_spelled_in_upper_case_is_the_same_tenant() {
        let admission = admit_table(&principal("AAAAAAAA-1111-1111-1111-111111111111"), &table()).unwrap();
        let event = update(None, Some(row("1", "aaaaaaaa-1111-1111-1111-111111111111")));
        assert!(Inspection::new(&event).visible(&admission, Transition::Stay).is_some());
    }

    #[test]
    fn a_row_whose_tenant_is_not_known_is_shown_to_nobody() {
        for tenant in [Datum::Absent, Datum::Unchanged, Datum::Null] {
            let tuple = Tuple::new(vec![Datum::Text(Bytes::from_static(b"1")), tenant]);
            let event = update(Some(tuple.clone()), Some(tuple));
            assert!(!sees(&event, ACME, Transition::Stay) && !sees(&event, ACME, Transition::Leave));
        }
    }

    #[test]
    fn without_a_tenant_there_are_no_rows() {
        let code = |principal: &Principal, table: &Table| admit_table(principal, table).unwrap_err().code();
        assert_eq!(code(&Principal::default(), &table()), "TENANT_REQUIRED");
        assert_eq!(code(&principal("not a uuid"), &table()), "TENANT_INVALID");
        assert_eq!(code(&principal(ACME), &Table { tenant: None, ..table() }), "NOT_PUBLIC");
        assert!(admit_table(&Principal::default(), &Table { tenant: None, public: true, ..table() }).is_ok());
    }

    #[test]
    fn a_table_with_row_security_is_refused_even_when_it_is_public() {
        let access = crate::model::Access { row_security: true, ..crate::model::Access::default() };
        let table = Table { access, public: true, tenant: None, ..table() };
        assert_eq!(admit_table(&principal(ACME), &table).unwrap_err().code(), "ROW_SECURITY_UNSUPPORTED");
    }

    #[test]
    fn a_message_is_shown_to_the_tenant_it_names_and_a_nameless_one_on_public_topics_only() {
        let message = |tenant: Option<&str>| {
            let tenant = tenant.map(Into::into);
            event(Change::Message(Message { topic: "alerts".into(), tenant, payload: Bytes::from_static(b"1") }))
        };
        let sees = |principal: &Principal, public, event: &Event| {
            let admission = admit_topic(principal, "alerts", public).unwrap();
            Inspection::new(event).visible(&admission, Transition::Enter).is_some()
        };
        assert!(sees(&principal("acme"), false, &message(Some("acme"))));
        assert!(!sees(&principal("acme"), true, &message(Some("globex"))));
        assert!(!sees(&principal("acme"), false, &message(None)));
        assert!(sees(&Principal::default(), true, &message(None)));
        assert_eq!(admit_topic(&Principal::default(), "alerts", false).unwrap_err().code(), "TENANT_REQUIRED");
    }
}
