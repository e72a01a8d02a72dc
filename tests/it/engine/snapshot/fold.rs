//! A client that keeps a table by the events that it receives, and notices when that cannot be right.

use std::collections::BTreeMap;

use serde_json::Value;

/// The rows by key.
pub(super) type Rows = BTreeMap<i64, Value>;

/// What a client knows.
#[derive(Clone, Default)]
pub(super) struct Fold {
    pub(super) rows: Rows,
    /// A snapshot is still being delivered. It may have no row, and yet changes behind it: what begins it has no cursor.
    pub(super) inside: bool,
    pub(super) cursor: Value,
    pub(super) told: usize,
}

impl Fold {
    /// Takes in one frame. Every repeat and every gap of a single event is seen: with whole old images each event says
    /// whether its row was there.
    pub(super) fn take(&mut self, frame: &Value) {
        assert_eq!(frame["type"], "next", "{frame}");
        let event = &frame["payload"]["data"]["t"];
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let key = event["key"]["id"].as_i64();
        self.told += 1;
        self.cursor = frame["payload"]["extensions"]["rowcast"]["cursor"].clone();
        // For an empty table the first event may be a change that came during the snapshot: it has no cursor.
        if self.cursor.is_null() && !std::mem::replace(&mut self.inside, true) {
            self.rows.clear();
        }
        match (text("operation"), key) {
            ("SNAPSHOT", Some(key)) => {
                assert!(self.cursor.is_null(), "{frame}");
                self.put(key, event, false);
            }
            ("SNAPSHOT_END", None) => {
                if !std::mem::replace(&mut self.inside, false) {
                    self.rows.clear();
                }
            }
            ("TRUNCATE", None) => self.rows.clear(),
            ("INSERT" | "UPDATE" | "DELETE", Some(key)) => match text("transition") {
                "ENTER" => self.put(key, event, false),
                "STAY" => self.put(key, event, true),
                "LEAVE" => assert!(self.rows.remove(&key).is_some(), "{key} left and was not there: {frame}"),
                other => panic!("{other}"),
            },
            other => panic!("{other:?}"),
        }
        assert_eq!(self.inside, self.cursor.is_null(), "the end alone ends it, and has a cursor: {frame}");
    }

    fn put(&mut self, key: i64, event: &Value, known: bool) {
        let before = self.rows.insert(key, event["row"]["v"].clone());
        assert_eq!(before.is_some(), known, "row {key}: had {before:?}, told {event}");
    }
}
