//! The matcher against evaluating every condition for every change, and its stories one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Match, Matcher, OperationSet, Scratch, Stats, transition};
use crate::model::{
    Column, Datum, Operation, PgType, ReplicaIdentity, RowChange, SubscriptionId, Table, TableName, Transition, Tuple,
};
use crate::predicate::{Comparison, Like, Predicate, RowImage, Scalar, Truth};

const TENANT: usize = 1;
const STATUS: usize = 2;
const TOTAL: usize = 3;
const NOTE: usize = 4;

fn table_of(columns: &[(&str, PgType)]) -> Arc<Table> {
    let column = |(name, pg_type): &(&str, PgType)| Column {
        name: (*name).into(),
        field: (*name).into(),
        type_oid: 0,
        pg_type: pg_type.clone(),
        not_null: false,
        collation: crate::model::Collation::Plain,
        folding: crate::model::Folding::Simple,
    };
    Arc::new(Table {
        oid: 16_384,
        name: TableName { schema: "public".into(), name: "orders".into() },
        type_name: "Orders".into(),
        field: "orders".into(),
        columns: columns.iter().map(column).collect(),
        key: Box::new([0]),
        tenant: Some(TENANT),
        public: false,
        access: crate::model::Access::default(),
        identity: ReplicaIdentity::Full,
        comment: None,
    })
}

fn orders() -> Arc<Table> {
    table_of(&[
        ("id", PgType::Int8),
        ("tenant", PgType::Text),
        ("status", PgType::Text),
        ("total", PgType::Numeric),
        ("note", PgType::Text),
    ])
}

fn text(text: &str) -> Scalar {
    Scalar::Text(text.into())
}

fn numeric(text: &str) -> Scalar {
    Scalar::from_text(&PgType::Numeric, text.as_bytes()).unwrap()
}

/// `-` is NULL, `?` is not sent.
fn row(columns: [&str; 5]) -> Tuple {
    Tuple::new(columns.map(|column| match column {
        "-" => Datum::Null,
        "?" => Datum::Absent,
        text => Datum::Text(text.to_owned().into()),
    }))
}

fn update(table: &Arc<Table>, old: Option<Tuple>, new: Tuple) -> RowChange {
    RowChange { table: Arc::clone(table), operation: Operation::Update, old, new: Some(new) }
}

fn sorted(matches: &[Match]) -> Vec<(u64, Transition)> {
    let mut matches: Vec<_> = matches.iter().map(|found| (found.id.0, found.transition)).collect();
    matches.sort_unstable_by_key(|(id, _)| *id);
    matches
}

/// One subscription of this condition.
fn told(predicate: Predicate, change: &RowChange) -> Option<Transition> {
    let mut matcher = Matcher::new();
    matcher.insert(SubscriptionId(1), &change.table, &Arc::new(predicate), OperationSet::ALL);
    let mut scratch = Scratch::default();
    matcher.matches(change, &mut scratch).first().map(|found| found.transition)
}

fn open_orders() -> Predicate {
    Predicate::and([Predicate::eq(TENANT, text("a")), Predicate::eq(STATUS, text("open"))])
}

#[test]
fn a_row_enters_stays_and_leaves() {
    let table = orders();
    let open = || row(["1", "a", "open", "5", "-"]);
    let paid = || row(["1", "a", "paid", "5", "-"]);
    let change = |old, new| update(&table, Some(old), new);
    assert_eq!(told(open_orders(), &change(paid(), open())), Some(Transition::Enter));
    assert_eq!(told(open_orders(), &change(open(), open())), Some(Transition::Stay));
    assert_eq!(told(open_orders(), &change(open(), paid())), Some(Transition::Leave));
    assert_eq!(told(open_orders(), &change(paid(), paid())), None);
    let insert = |new| RowChange { table: Arc::clone(&table), operation: Operation::Insert, old: None, new: Some(new) };
    assert_eq!(told(open_orders(), &insert(open())), Some(Transition::Enter));
    assert_eq!(told(open_orders(), &insert(paid())), None);
    let delete = |old| RowChange { table: Arc::clone(&table), operation: Operation::Delete, old: Some(old), new: None };
    assert_eq!(told(open_orders(), &delete(open())), Some(Transition::Leave));
    assert_eq!(told(open_orders(), &delete(paid())), None);
}

#[test]
fn a_row_that_moves_to_another_tenant_leaves_the_first_and_enters_the_second() {
    let table = orders();
    let mut matcher = Matcher::new();
    for (id, tenant) in [(1, "a"), (2, "b"), (3, "c")] {
        let predicate = Arc::new(Predicate::eq(TENANT, text(tenant)));
        matcher.insert(SubscriptionId(id), &table, &predicate, OperationSet::ALL);
    }
    let change = update(&table, Some(row(["1", "a", "-", "-", "-"])), row(["1", "b", "-", "-", "-"]));
    let found = sorted(matcher.matches(&change, &mut Scratch::default()));
    assert_eq!(found, [(1, Transition::Leave), (2, Transition::Enter)]);
}

#[test]
fn an_old_image_that_was_not_sent_is_never_guessed() {
    let table = orders();
    let open = || row(["1", "a", "open", "5", "-"]);
    let paid = || row(["1", "a", "paid", "5", "-"]);
    let key_only = || row(["1", "?", "?", "?", "?"]);
    for old in [None, Some(key_only())] {
        assert_eq!(told(open_orders(), &update(&table, old.clone(), open())), Some(Transition::Stay));
        assert_eq!(told(open_orders(), &update(&table, old, paid())), None);
    }
    let delete = RowChange { table, operation: Operation::Delete, old: Some(key_only()), new: None };
    assert_eq!(told(open_orders(), &delete), None);
    assert_eq!(told(Predicate::not(open_orders()), &delete), None);
    assert_eq!(told(Predicate::is_null(NOTE), &delete), None);
    assert_eq!(told(Predicate::eq(0, Scalar::Int(1)), &delete), Some(Transition::Leave));
}

#[test]
fn a_row_that_cannot_be_proven_to_be_in_view_is_taken_out() {
    let table = orders();
    let predicate =
        Predicate::or([Predicate::eq(0, Scalar::Int(1)), Predicate::like(NOTE, Like::new("%urgent%").unwrap())]);
    let change = update(&table, Some(row(["1", "?", "?", "?", "?"])), row(["2", "a", "open", "5", "?"]));
    assert_eq!(told(predicate, &change), Some(Transition::Leave));
}

#[test]
fn every_pair_of_images_has_an_answer() {
    let all = [Truth::True, Truth::False, Truth::Unknown, Truth::Unavailable];
    for (old, new) in all.into_iter().flat_map(|old| all.map(|new| (old, new))) {
        let update = transition(Operation::Update, old, new);
        assert_eq!(
            update.is_some_and(|told| told != Transition::Leave),
            new.is_true(),
            "a row is sent when it matches"
        );
        assert_eq!(update == Some(Transition::Leave), old.is_true() && !new.is_true(), "and leaves when it did");
        assert_eq!(transition(Operation::Truncate, old, new), None);
    }
}

#[test]
fn only_the_operations_that_were_asked_for_are_told() {
    let table = orders();
    let mut matcher = Matcher::new();
    let predicate = Arc::new(open_orders());
    matcher.insert(SubscriptionId(1), &table, &predicate, [Operation::Update].into_iter().collect());
    matcher.insert(SubscriptionId(2), &table, &predicate, OperationSet::ALL);
    let open = row(["1", "a", "open", "5", "-"]);
    let insert = RowChange { table, operation: Operation::Insert, old: None, new: Some(open) };
    assert_eq!(sorted(matcher.matches(&insert, &mut Scratch::default())), [(2, Transition::Enter)]);
}

#[test]
fn equal_conditions_are_one_entry_and_one_allocation() {
    let table = orders();
    let mut matcher = Matcher::new();
    let first = matcher.insert(SubscriptionId(1), &table, &Arc::new(open_orders()), OperationSet::ALL);
    let second = matcher.insert(SubscriptionId(2), &table, &Arc::new(open_orders()), OperationSet::ALL);
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(matcher.stats().entries, 1);
    assert_eq!(matcher.stats().subscriptions, 2);
    assert!(matcher.remove(SubscriptionId(1)) && !matcher.remove(SubscriptionId(1)));
    assert_eq!(matcher.stats().entries, 1);
}

#[test]
fn a_subscription_that_is_inserted_again_is_replaced() {
    let table = orders();
    let mut matcher = Matcher::new();
    matcher.insert(SubscriptionId(1), &table, &Arc::new(Predicate::eq(TENANT, text("a"))), OperationSet::ALL);
    matcher.insert(SubscriptionId(1), &table, &Arc::new(Predicate::eq(TENANT, text("b"))), OperationSet::ALL);
    assert_eq!(matcher.stats(), Stats { subscriptions: 1, entries: 1, equality: 1, probes: 1, ..Stats::default() });
}

#[test]
fn a_condition_for_another_shape_of_the_table_is_not_evaluated() {
    let table = orders();
    let mut matcher = Matcher::new();
    matcher.insert(SubscriptionId(1), &table, &Arc::new(Predicate::True), OperationSet::ALL);
    let mut altered = (*table).clone();
    altered.columns[STATUS].name = "state".into();
    let change = update(&Arc::new(altered), None, row(["1", "a", "open", "5", "-"]));
    assert!(matcher.matches(&change, &mut Scratch::default()).is_empty());
    let same_again = update(&Arc::new((*table).clone()), None, row(["1", "a", "open", "5", "-"]));
    assert_eq!(matcher.matches(&same_again, &mut Scratch::default()).len(), 1);
}

#[test]
fn every_condition_is_found_the_cheapest_way() {
    let table = orders();
    let range = |column, comparison, value: &str| Predicate::compare(column, comparison, numeric(value));
    let like = || Predicate::like(NOTE, Like::new("%x%").unwrap());
    for (predicate, expected) in [
        (Predicate::True, Stats { always: 1, ..Stats::default() }),
        (Predicate::Unknown, Stats { never: 1, ..Stats::default() }),
        (Predicate::and([open_orders(), Predicate::Unknown]), Stats { never: 1, ..Stats::default() }),
        (Predicate::and([open_orders(), like()]), Stats { equality: 1, probes: 1, ..Stats::default() }),
        (Predicate::is_in(STATUS, ["a", "b", "c"].map(text)), Stats { equality: 1, probes: 1, ..Stats::default() }),
        (Predicate::is_in(TOTAL, (0..65).map(|n| numeric(&n.to_string()))), Stats { residual: 1, ..Stats::default() }),
        (
            Predicate::and([range(TOTAL, Comparison::Gt, "1"), like()]),
            Stats { range: 1, probes: 1, ..Stats::default() },
        ),
        (like(), Stats { residual: 1, ..Stats::default() }),
        (Predicate::or([open_orders(), like()]), Stats { residual: 1, ..Stats::default() }),
    ] {
        let mut matcher = Matcher::new();
        matcher.insert(SubscriptionId(1), &table, &Arc::new(predicate.clone()), OperationSet::ALL);
        let expected = Stats { subscriptions: 1, entries: 1, ..expected };
        assert_eq!(matcher.stats(), expected, "{predicate:?}");
        matcher.remove(SubscriptionId(1));
        assert_eq!(matcher.stats(), Stats::default(), "{predicate:?}");
    }
}

#[test]
fn hostile_sets_of_columns_do_not_make_every_change_dear() {
    let names: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
    let columns: Vec<_> = names.iter().map(|name| (name.as_str(), PgType::Int4)).collect();
    let table = table_of(&columns);
    let mut matcher = Matcher::new();
    let sets: Vec<Vec<usize>> = (1..1_usize << 12).map(|set| (0..12).filter(|n| set >> n & 1 == 1).collect()).collect();
    for (id, set) in sets.iter().enumerate() {
        let predicate = Predicate::and(set.iter().map(|column| Predicate::eq(*column, Scalar::Int(7))));
        matcher.insert(SubscriptionId(id as u64), &table, &Arc::new(predicate), OperationSet::ALL);
    }
    assert_eq!(matcher.stats().residual, 0);
    assert!(matcher.stats().probes <= 64 + 12, "{:?}", matcher.stats());
    let new = Tuple::new(vec![Datum::Text("7".into()); 12]);
    let insert = RowChange { table, operation: Operation::Insert, old: None, new: Some(new) };
    assert_eq!(matcher.matches(&insert, &mut Scratch::default()).len(), sets.len());
    for id in 0..sets.len() as u64 {
        assert!(matcher.remove(SubscriptionId(id)));
    }
    assert_empty(&matcher);
}

/// Random subscriptions come, change and go while random changes pass; the answer is always that of the plain loop.
/// `ROWCAST_SEED` replays a run.
#[test]
fn the_index_answers_as_the_plain_loop_does() {
    let seed = std::env::var("ROWCAST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("ROWCAST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let table = orders();
    let mut matcher = Matcher::new();
    let mut plain = BTreeMap::<u64, (Arc<Predicate>, OperationSet)>::new();
    let mut scratch = Scratch::default();
    let mut found = 0;
    for step in 0..6_000 {
        let id = random.random_range(0..300);
        if random.random_bool(0.4) {
            assert_eq!(matcher.remove(SubscriptionId(id)), plain.remove(&id).is_some());
        } else {
            let predicate = Arc::new(condition(&mut random, 2));
            let operations = operations(&mut random);
            matcher.insert(SubscriptionId(id), &table, &predicate, operations);
            plain.insert(id, (predicate, operations));
        }
        let change = change(&mut random, &table);
        let expected: Vec<_> = plain.iter().filter_map(|(id, watch)| Some((*id, by_hand(watch, &change)?))).collect();
        found += expected.len();
        assert_eq!(sorted(matcher.matches(&change, &mut scratch)), expected, "step {step}, ROWCAST_SEED={seed}");
    }
    assert!(found > 10_000, "too few matches to mean anything: {found}");
    for id in plain.keys() {
        assert!(matcher.remove(SubscriptionId(*id)));
    }
    assert_empty(&matcher);
}

fn assert_empty(matcher: &Matcher) {
    assert_eq!(matcher.stats(), Stats::default());
    assert!(matcher.tables.is_empty() && matcher.subscriptions.is_empty());
    assert_eq!(matcher.entries.len(), 0);
}

fn by_hand((predicate, operations): &(Arc<Predicate>, OperationSet), change: &RowChange) -> Option<Transition> {
    let truth = |tuple: &Option<Tuple>| {
        tuple.as_ref().map_or(Truth::Unavailable, |tuple| predicate.eval(&RowImage::new(&change.table, tuple)))
    };
    let wanted = operations.contains(change.operation);
    wanted.then(|| transition(change.operation, truth(&change.old), truth(&change.new))).flatten()
}

fn operations(random: &mut StdRng) -> OperationSet {
    let all = [Operation::Insert, Operation::Update, Operation::Delete];
    if random.random_bool(0.7) { OperationSet::ALL } else { all.into_iter().filter(|_| random.random()).collect() }
}

fn change(random: &mut StdRng, table: &Arc<Table>) -> RowChange {
    let operation = [Operation::Insert, Operation::Update, Operation::Delete][random.random_range(0..3)];
    let new = (operation != Operation::Delete).then(|| tuple(random, 0.05));
    let partial = if random.random_bool(0.3) { 0.5 } else { 0.0 };
    let sent = operation == Operation::Delete || (operation == Operation::Update && random.random_bool(0.8));
    let old = sent.then(|| tuple(random, partial));
    RowChange { table: Arc::clone(table), operation, old, new }
}

fn tuple(random: &mut StdRng, absent: f64) -> Tuple {
    let values: Vec<_> = (0..5)
        .map(|column| match random.random_range(0..10) {
            _ if random.random_bool(absent) => [Datum::Absent, Datum::Unchanged][random.random_range(0..2)].clone(),
            0 => Datum::Null,
            _ => Datum::Text(spelling(random, column).into()),
        })
        .collect();
    Tuple::new(values)
}

fn spelling(random: &mut StdRng, column: usize) -> String {
    let n = random.random_range(0..6);
    match column {
        0 => n.to_string(),
        TOTAL => ["0", "1.0", "1.00", "2.5", "10", "NaN"][n].to_owned(),
        _ => ["a", "b", "ab", "", "open", "paid"][n].to_owned(),
    }
}

fn scalar(random: &mut StdRng, table: &Table, column: usize) -> Scalar {
    Scalar::from_text(&table.columns[column].pg_type, spelling(random, column).as_bytes()).unwrap()
}

fn condition(random: &mut StdRng, depth: u32) -> Predicate {
    let table = orders();
    let column = random.random_range(0..5);
    let parts = |random: &mut StdRng| {
        let count = random.random_range(1..4);
        (0..count).map(|_| condition(random, depth - 1)).collect::<Vec<_>>()
    };
    match random.random_range(0..if depth == 0 { 8 } else { 14 }) {
        0..=2 => Predicate::eq(column, scalar(random, &table, column)),
        3 => Predicate::is_in(
            column,
            (0..random.random_range(0..4)).map(|_| scalar(random, &table, column)).collect::<Vec<_>>(),
        ),
        4 | 5 => {
            let comparison = [Comparison::Lt, Comparison::Lte, Comparison::Gt, Comparison::Gte, Comparison::Neq];
            Predicate::compare(column, comparison[random.random_range(0..5)], scalar(random, &table, column))
        }
        6 => Predicate::is_null(column),
        7 => [Predicate::Unknown, Predicate::True, Predicate::like(NOTE, Like::new("a%").unwrap())]
            [random.random_range(0..3)]
        .clone(),
        8..=11 => Predicate::and(parts(random)),
        12 => Predicate::or(parts(random)),
        _ => Predicate::not(condition(random, depth - 1)),
    }
}
