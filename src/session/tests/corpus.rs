//! The corpus of messages, and the list of rules that keeps account of what is proven where.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::{ClientMessage, Close, Input, Phase, REASON_BYTES_MAX};
use super::{INIT, Pair};

#[derive(Deserialize)]
struct Messages {
    malformed: Vec<Malformed>,
    accepted: Vec<Accepted>,
}

#[derive(Deserialize)]
struct Malformed {
    rule: u8,
    text: String,
    says: String,
}

#[derive(Deserialize)]
struct Accepted {
    rule: u8,
    text: String,
    gives: String,
}

fn messages() -> Messages {
    toml::from_str(include_str!("../../../tests/corpus/session/messages.toml")).unwrap()
}

#[test]
fn rules_10_21_24_and_26_to_36_a_malformed_message_closes_4400_in_every_state_and_says_why() {
    for case in messages().malformed {
        for phase in [Phase::AwaitingInit, Phase::Authenticating, Phase::Ready] {
            let mut pair = Pair::new();
            if phase != Phase::AwaitingInit {
                pair.says(INIT);
            }
            if phase == Phase::Ready {
                pair.accept();
            }
            pair.says(&case.text);
            let what = format!("rule {}: {} in {phase:?} gave {:?}", case.rule, case.text, pair.closed);
            assert_eq!(pair.code(), Some(4400), "{what}");
            assert!(pair.reason().starts_with("Invalid message received: "), "{what}");
            assert!(pair.reason().contains(&case.says), "{what}, which does not say {:?}", case.says);
            assert!(
                pair.reason().len() <= REASON_BYTES_MAX && !pair.closed.as_ref().is_some_and(Close::flush),
                "{what}"
            );
        }
    }
}

#[test]
fn rules_10_21_32_to_36_and_46_what_is_allowed_is_read() {
    for case in messages().accepted {
        let kind = match ClientMessage::parse(&case.text, usize::MAX) {
            Ok(ClientMessage::ConnectionInit { .. }) => "connection_init",
            Ok(ClientMessage::Ping { .. }) => "ping",
            Ok(ClientMessage::Pong) => "pong",
            Ok(ClientMessage::Subscribe { .. }) => "subscribe",
            Ok(ClientMessage::Complete { .. }) => "complete",
            Err(violation) => panic!("rule {}: {}: {violation}", case.rule, case.text),
        };
        assert_eq!(kind, case.gives, "rule {}: {}", case.rule, case.text);
    }
}

#[test]
fn rule_25_a_binary_frame_closes_4400() {
    let mut pair = Pair::ready();
    pair.input(Input::Binary);
    let reason = "Invalid message received: send text frames, not binary ones";
    assert_eq!((pair.code(), pair.reason()), (Some(4400), reason));
}

#[test]
fn rule_37_an_oversize_message_closes_4400_and_is_not_parsed() {
    let mut pair = Pair::ready();
    pair.says(&"x".repeat(300 * 1024));
    assert_eq!(pair.code(), Some(4400));
    assert_eq!(pair.reason(), "Invalid message received: 307200 bytes long, at most 262144 are read");
}

#[test]
fn rule_37_a_message_of_brackets_closes_4400_in_every_position() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [deep.clone(), format!(r#"{{"x":{deep}}}"#), format!(r#"{{"type":"ping","payload":{{"x":{deep}}}}}"#)] {
        let mut pair = Pair::ready();
        pair.says(&text);
        assert_eq!(pair.reason(), "Invalid message received: nested more than 100 levels deep");
    }
}

/// One line of `rules.toml`.
#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "rule")]
    number: u8,
    #[serde(default)]
    here: Vec<String>,
    #[serde(default)]
    open: Vec<String>,
}

#[derive(Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

fn rules() -> Vec<Rule> {
    let rules: Rules = toml::from_str(include_str!("../../../tests/corpus/session/rules.toml")).unwrap();
    rules.rules
}

const SOURCES: [&str; 8] = [
    include_str!("../close.rs"),
    include_str!("../message.rs"),
    include_str!("../subprotocol.rs"),
    include_str!("corpus.rs"),
    include_str!("endings.rs"),
    include_str!("handshake.rs"),
    include_str!("invariants.rs"),
    include_str!("operations.rs"),
];

#[test]
fn every_rule_from_1_to_80_is_listed_once_and_proven_here_or_named_as_open() {
    let rules = rules();
    assert_eq!(rules.iter().map(|rule| rule.number).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
    for rule in rules {
        assert!(!rule.here.is_empty() || !rule.open.is_empty(), "nobody answers for rule {}", rule.number);
    }
}

#[test]
fn every_test_that_the_list_of_rules_names_exists_and_every_test_named_after_a_rule_is_listed() {
    let written: BTreeSet<&str> = SOURCES
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.trim().strip_prefix("fn ")?.strip_suffix("() {"))
        .filter(|name| name.starts_with("rule"))
        .collect();
    let rules = rules();
    let listed: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.here).map(String::as_str).collect();
    assert_eq!(listed, written);
}
