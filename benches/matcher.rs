//! One change against 1,000, 100,000 and 1,000,000 subscriptions `tenant = … and status = …`: 2 subscriptions for each
//! pair, 5 statuses, so 100,000 tenants at the top. Beside it the rejected design, a loop over all conditions, and the
//! range index, which costs more. Prints the memory per subscription first.
//!
//! `cargo bench --bench matcher` (`-- --quick` for a look).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rowcast::matcher::{Matcher, OperationSet, Scratch, transition};
use rowcast::model::{
    Column, Datum, Operation, PgType, ReplicaIdentity, RowChange, SubscriptionId, Table, TableName, Tuple,
};
use rowcast::predicate::{Comparison, Predicate, RowImage, Scalar, Truth};

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
const STATUSES: [&str; 5] = ["open", "paid", "packed", "shipped", "closed"];

fn orders() -> Arc<Table> {
    let column = |name: &str, type_oid, pg_type| Column {
        name: name.into(),
        field: name.into(),
        type_oid,
        pg_type,
        not_null: true,
        collation: rowcast::model::Collation::default(),
        folding: rowcast::model::Folding::Simple,
    };
    let mut columns = vec![
        column("id", 20, PgType::Int8),
        column("tenant", 20, PgType::Int8),
        column("status", 25, PgType::Text),
        column("total", 1700, PgType::Numeric),
    ];
    columns.extend((0..6).map(|n| column(&format!("c{n}"), 25, PgType::Text)));
    Arc::new(Table {
        oid: 16_384,
        name: TableName { schema: "public".into(), name: "orders".into() },
        type_name: "Orders".into(),
        field: "orders".into(),
        columns: columns.into(),
        key: Box::new([0]),
        tenant: Some(1),
        public: false,
        access: rowcast::model::Access::default(),
        identity: ReplicaIdentity::Full,
        comment: None,
    })
}

fn tuple(id: u64, tenant: u64, status: &str, total: u64) -> Tuple {
    let mut values: Vec<Datum> = [id.to_string(), tenant.to_string(), status.to_owned(), format!("{total}.50")]
        .map(|text| Datum::Text(text.into()))
        .into();
    values.extend((0..6).map(|n| Datum::Text(format!("some text of column {n}").into())));
    Tuple::new(values)
}

fn int(value: u64) -> Scalar {
    Scalar::Int(value.cast_signed())
}

/// The n-th subscription's condition.
fn tenant_and_status(n: u64) -> Predicate {
    let pair = n / 2;
    let status = STATUSES[(pair % 5) as usize];
    Predicate::and([Predicate::eq(1, int(pair / 5)), Predicate::eq(2, Scalar::Text(status.into()))])
}

/// Each has its own bounds, a ten-thousandth of the range wide: 100 of a million hold.
fn total_between(n: u64, of: u64) -> Predicate {
    let numeric = |value: u64| Scalar::from_text(&PgType::Numeric, value.to_string().as_bytes()).unwrap_or(int(value));
    Predicate::and([
        Predicate::compare(3, Comparison::Gte, numeric(n)),
        Predicate::compare(3, Comparison::Lt, numeric(n + of.div_ceil(10_000))),
    ])
}

/// 512 changes spread over all tenants, so that nothing stays in the cache by itself.
fn changes(table: &Arc<Table>, operation: Operation, subscriptions: u64) -> Vec<RowChange> {
    let tenants = (subscriptions / 10).max(1);
    let change = |n: u64| {
        let tenant = n * 7919 % tenants;
        let status = |n: u64| STATUSES[(n % 5) as usize];
        let total = n * 7919 % subscriptions;
        let new = tuple(n, tenant, status(n), total);
        let old = (operation == Operation::Update).then(|| tuple(n, tenant, status(n + n % 2), total));
        RowChange { table: Arc::clone(table), operation, old, new: Some(new) }
    };
    (0..512).map(change).collect()
}

fn fill(table: &Arc<Table>, subscriptions: u64, condition: impl Fn(u64) -> Predicate) -> Matcher {
    let mut matcher = Matcher::new();
    for n in 0..subscriptions {
        matcher.insert(SubscriptionId(n), table, &Arc::new(condition(n)), OperationSet::ALL);
    }
    matcher
}

fn bench_all(criterion: &mut Criterion, name: &str, matcher: &Matcher, changes: &[RowChange], subscriptions: u64) {
    let mut scratch = Scratch::default();
    let mut next = 0;
    let found: usize = changes.iter().map(|change| matcher.matches(change, &mut scratch).len()).sum();
    println!("{name}/{subscriptions}: {found} matches of {} changes, {:?}", changes.len(), matcher.stats());
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::from_parameter(subscriptions), |bencher| {
        bencher.iter(|| {
            next = (next + 1) % changes.len();
            black_box(matcher.matches(&changes[next], &mut scratch).len())
        });
    });
    group.finish();
}

/// Bytes of this process that are in memory: pages, of 4 KiB here.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// First of all, while the process has no freed memory to reuse. The conditions are part of it.
fn memory(_: &mut Criterion) {
    let before = resident();
    let matcher = fill(&orders(), 1_000_000, tenant_and_status);
    println!("memory/1000000: {} bytes per subscription, {:?}", (resident() - before) / 1_000_000, matcher.stats());
}

fn equality(criterion: &mut Criterion) {
    let table = orders();
    for subscriptions in SIZES {
        let matcher = fill(&table, subscriptions, tenant_and_status);
        for (name, operation) in [("equality insert", Operation::Insert), ("equality update", Operation::Update)] {
            bench_all(criterion, name, &matcher, &changes(&table, operation, subscriptions), subscriptions);
        }
    }
}

fn range(criterion: &mut Criterion) {
    let table = orders();
    for subscriptions in SIZES {
        let matcher = fill(&table, subscriptions, |n| total_between(n, subscriptions));
        let changes = changes(&table, Operation::Insert, subscriptions);
        bench_all(criterion, "range insert", &matcher, &changes, subscriptions);
    }
}

/// The rejected design: every condition for every change.
fn scan(criterion: &mut Criterion) {
    let table = orders();
    let mut group = criterion.benchmark_group("linear scan insert");
    for subscriptions in SIZES {
        let conditions: Vec<_> = (0..subscriptions).map(tenant_and_status).collect();
        let changes = changes(&table, Operation::Insert, subscriptions);
        let mut next = 0;
        group.sample_size(10);
        group.bench_function(BenchmarkId::from_parameter(subscriptions), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % changes.len();
                let image = changes[next].new.as_ref().map(|tuple| RowImage::new(&table, tuple));
                let truth =
                    |condition: &Predicate| image.as_ref().map_or(Truth::Unavailable, |image| condition.eval(image));
                let told = |condition| transition(Operation::Insert, Truth::Unavailable, truth(condition)).is_some();
                black_box(conditions.iter().filter(|condition| told(condition)).count())
            });
        });
    }
    group.finish();
}

fn register(criterion: &mut Criterion) {
    let table = orders();
    let mut matcher = fill(&table, 1_000_000, tenant_and_status);
    let mut next = 0;
    criterion.bench_function("remove and insert/1000000", |bencher| {
        bencher.iter(|| {
            next = (next + 7919) % 1_000_000;
            matcher.remove(SubscriptionId(next));
            matcher.insert(SubscriptionId(next), &table, &Arc::new(tenant_and_status(next)), OperationSet::ALL);
        });
    });
}

criterion_group!(benches, memory, equality, range, scan, register);
criterion_main!(benches);
