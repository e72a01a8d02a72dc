//! One change before the gate of a table that row policies alone protect, with 30, 3,000 and 30,000 subscribers, each in
//! a tenant of its own: what the index proposes, and what the gate then says. A compiled policy is found by its value,
//! so the number of subscribers hardly counts. Beside it what a policy costs that is not compiled before PostgreSQL is
//! asked: nothing narrows it, so every subscriber has a question.
//!
//! `cargo bench --bench gate` (`-- --quick` for a look). Asking itself needs a server: `benches/policies.py`.

#![allow(clippy::expect_used)] // a bench has nobody to report to

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rowcast::matcher::{Matcher, OperationSet, Scratch};
use rowcast::model::{
    Access, Change, Collation, Column, Datum, Event, Operation, PgType, Policy, Position, Principal, ReplicaIdentity,
    Role, Roles, RowChange, SubscriptionId, Table, TableName, Timestamp, Tuple,
};
use rowcast::predicate::Predicate;
use rowcast::security::{
    AccessRequest, Admission, FieldRules, Gate, GateRules, Inspection, Judged, SourceAccess, Standing,
};

const SIZES: [u64; 3] = [30, 3_000, 30_000];
const APP: u32 = 16_500;

/// As `pg_get_expr` prints them.
const COMPILED: &str = "(tenant_id = (current_setting('app.tenant_id'::text))::uuid)";
const ASKED: &str = "public.may_read(docs.*)";

fn docs(using: &str) -> Arc<Table> {
    let column = |name: &str, type_oid, pg_type| Column {
        name: name.into(),
        field: name.into(),
        type_oid,
        pg_type,
        not_null: true,
        collation: Collation::default(),
        folding: rowcast::model::Folding::Simple,
    };
    let policy = Policy {
        name: "own".into(),
        permissive: true,
        roles: [0].into(),
        using: Some(using.into()),
        tree: Box::default(),
        unbound: false,
        columns: ["tenant_id".into()].into(),
    };
    Arc::new(Table {
        oid: 16_384,
        name: TableName { schema: "public".into(), name: "docs".into() },
        type_name: "Docs".into(),
        field: "docs".into(),
        columns: [
            column("id", 20, PgType::Int8),
            column("tenant_id", 2950, PgType::Uuid),
            column("title", 25, PgType::Text),
        ]
        .into(),
        key: Box::new([0]),
        tenant: None,
        public: false,
        access: Access {
            owner: 10,
            schema_usage: [0].into(),
            select: [APP].into(),
            row_security: true,
            policies: [policy].into(),
            ..Access::default()
        },
        identity: ReplicaIdentity::Full,
        comment: None,
    })
}

fn tenant(n: u64) -> String {
    format!("00000000-0000-0000-0000-{n:012}")
}

fn principal(n: u64) -> Principal {
    Principal {
        role: Some("app".into()),
        settings: BTreeMap::from([("app.tenant_id".to_owned(), tenant(n))]),
        ..Principal::default()
    }
}

fn gate(table: &Arc<Table>) -> Gate {
    let role = Role {
        oid: APP,
        name: "app".into(),
        superuser: false,
        bypass_rls: false,
        settable: true,
        privileges_of: [APP].into(),
    };
    Gate::new(
        GateRules::default(),
        [table],
        Arc::new(Roles { by_name: HashMap::from([("app".into(), role)]) }),
        Arc::default(),
    )
}

/// The subscriptions, with the matcher and the gate's decisions about them.
struct Listeners {
    table: Arc<Table>,
    matcher: Matcher,
    admissions: HashMap<SubscriptionId, Admission>,
}

impl Listeners {
    fn new(count: u64, using: &str) -> Self {
        let table = docs(using);
        let gate = gate(&table);
        let mut listeners = Listeners { table, matcher: Matcher::new(), admissions: HashMap::new() };
        for n in 0..count {
            let (principal, table) = (&principal(n), &listeners.table);
            let (field, variables) = (&FieldRules::default(), &serde_json::Map::new());
            let source = SourceAccess::Table(table, &BTreeSet::new());
            let admitted = gate.admit(&AccessRequest { principal, field, variables, operations: None, source });
            let admission = admitted.expect("the role may read the table");
            let condition = Arc::new(admission.condition().unwrap_or(Predicate::True));
            listeners.matcher.insert(SubscriptionId(n), &listeners.table, &condition, OperationSet::ALL);
            listeners.admissions.insert(SubscriptionId(n), admission);
        }
        listeners
    }

    /// How many may see the row, and for how many PostgreSQL has to be asked.
    fn tell(&self, event: &Event, scratch: &mut Scratch) -> (usize, usize) {
        let Change::Row(change) = &event.change else { return (0, 0) };
        let inspection = Inspection::new(event);
        let (mut seen, mut asked) = (0, 0);
        for found in self.matcher.matches(change, scratch) {
            let admission = &self.admissions[&found.id];
            if admission.question().is_some() {
                asked += usize::from(matches!(inspection.standing(admission).1, Standing::Ask(_)));
            } else {
                seen += usize::from(inspection.visible(admission, found.transition, Judged::NOT).is_some());
            }
        }
        (seen, asked)
    }
}

fn events(table: &Arc<Table>, tenants: u64) -> Vec<Event> {
    let event = |n: u64| {
        let values = [n.to_string(), tenant(n * 7919 % tenants), "a title".to_owned()];
        let new = Some(Tuple::new(values.map(|text| Datum::Text(text.into())).to_vec()));
        let change = RowChange { table: Arc::clone(table), operation: Operation::Insert, old: None, new };
        Event { position: Position::default(), committed_at: Timestamp(0), xid: 1, change: Change::Row(change) }
    };
    (0..512).map(event).collect()
}

fn bench(criterion: &mut Criterion, name: &str, using: &str) {
    let mut group = criterion.benchmark_group(name);
    for count in SIZES {
        let listeners = Listeners::new(count, using);
        let events = events(&listeners.table, count);
        let (mut scratch, mut next) = (Scratch::default(), 0);
        println!("{name}/{count}: (seen, asked) = {:?}", listeners.tell(&events[0], &mut scratch));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % events.len();
                black_box(listeners.tell(&events[next], &mut scratch))
            });
        });
    }
    group.finish();
}

fn compiled(criterion: &mut Criterion) {
    bench(criterion, "compiled", COMPILED);
}

fn asked(criterion: &mut Criterion) {
    bench(criterion, "delegated", ASKED);
}

criterion_group!(benches, compiled, asked);
criterion_main!(benches);
