//! The table in the module's documentation is read here and run, row by row: what it says is what the machine does.

use super::super::{Close, Input, Phase};
use super::{INIT, PING, PONG, Pair, seconds};

const PHASES: [Phase; 5] = [Phase::AwaitingInit, Phase::Authenticating, Phase::Ready, Phase::Closing, Phase::Closed];

/// The rows of the table: the input's name, then a cell for each phase.
fn table() -> Vec<Vec<&'static str>> {
    let rows = include_str!("../mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = |row: &'static str| row.trim_end_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    rows.map(cells).collect()
}

/// A session in that phase; from `Authenticating` on, operation `1` has been asked for.
fn pair_in(phase: Phase) -> Pair {
    let mut pair = Pair::new();
    if matches!(phase, Phase::Authenticating | Phase::Ready | Phase::Closing) {
        pair.says(INIT);
        pair.subscribe("1");
    }
    match phase {
        Phase::AwaitingInit | Phase::Authenticating => {}
        Phase::Ready => pair.accept(),
        Phase::Closing => pair.input(Input::GoingAway(Close::overloaded())),
        Phase::Closed => pair.input(Input::Disconnected),
    }
    assert_eq!(pair.session.phase(), phase);
    // A client that does not read would be found slow before it is found silent.
    let _ = pair.hears();
    pair.closed = None;
    pair
}

fn apply(input: &str, pair: &mut Pair) {
    match input {
        "connection_init" => pair.says(INIT),
        "ping" => pair.says(PING),
        "pong" => pair.says(PONG),
        "subscribe" => pair.subscribe("2"),
        "subscribe again" => pair.subscribe("1"),
        "complete" => pair.complete("1"),
        "malformed" => pair.says("{"),
        "Binary" => pair.input(Input::Binary),
        "Accepted" => pair.accept(),
        "Refused" => pair.input(Input::Refused(Close::forbidden())),
        "OperationEnded" => pair.input(Input::OperationEnded(&"1".into())),
        "GoingAway" => pair.input(Input::GoingAway(Close::shutting_down())),
        "an hour passes" => pair.advance(seconds(3600)),
        "Disconnected" => pair.input(Input::Disconnected),
        unknown => panic!("the table has an input that this test does not know: {unknown}"),
    }
}

#[test]
fn the_table_in_the_documentation_is_what_the_machine_does() {
    let table = table();
    let (head, rows) = table.split_first().unwrap();
    assert_eq!(head[1..], PHASES.map(|phase| format!("{phase:?}")));
    assert_eq!(rows.len(), 14);
    for row in rows {
        for (phase, cell) in PHASES.into_iter().zip(&row[1..]) {
            let mut pair = pair_in(phase);
            apply(row[0], &mut pair);
            let after = match pair.code() {
                Some(code) => code.to_string(),
                None if pair.session.phase() == phase => "·".to_owned(),
                None => format!("{:?}", pair.session.phase()),
            };
            assert_eq!(&after, cell, "{} in {phase:?}", row[0]);
            assert_eq!(pair.closed.is_some(), phase != Phase::Closing && pair.session.phase() == Phase::Closing);
        }
    }
}
