//! A consumer as the engine is one, for the tests of capture.

use std::time::{Duration, Instant};

use crate::postgres::Server;
use rowcast::capture::{Capture, CaptureError, Captured, WalSettings};
use rowcast::journal::Journal;
use rowcast::model::Lsn;
use rowcast::postgres::Conninfo;

/// Long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn settings() -> WalSettings {
    WalSettings { publication_check: Duration::from_millis(200), ..WalSettings::new("feed", "feed") }
}

pub(crate) async fn start(url: &str) -> Result<Capture, CaptureError> {
    Capture::wal(Conninfo::resolve(Some(url))?, settings(), None).await
}

/// A server with a table `t(id int, note text)` in publication `feed`.
pub(crate) async fn prepared(extra: &[&str]) -> Server {
    let server = Server::with(&[&["wal_level=logical"], extra].concat());
    server.sql("create table t (id int primary key, note text); create publication feed for table t").await;
    server
}

/// A consumer as the engine is one: it keeps what it has by position, so that what comes again is known.
pub(crate) struct Reader {
    pub(crate) capture: Capture,
    /// `I:1`, `U:1`, `M:prefix`: what came, each once.
    pub(crate) events: Vec<String>,
    /// What came once more after an outage, and was left out.
    pub(crate) repeated: usize,
    pub(crate) interruptions: Vec<&'static str>,
    pub(crate) resumed: usize,
    last: (u64, u64),
    current: (u64, u64),
    /// Whether a transaction has begun and not ended.
    pub(crate) open: bool,
    pub(crate) acknowledges: bool,
}

impl Reader {
    pub(crate) fn new(capture: Capture) -> Self {
        Self {
            capture,
            events: Vec::new(),
            repeated: 0,
            interruptions: Vec::new(),
            resumed: 0,
            last: (0, 0),
            current: (0, 0),
            open: false,
            acknowledges: true,
        }
    }

    /// Reads on until the condition holds.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let next = tokio::time::timeout(left, self.capture.next()).await;
            let next = next.unwrap_or_else(|_| panic!("waited in vain for {what}; have {:?}", self.events));
            if let Err(error) = self.take(next) {
                panic!("waiting for {what}: {error}");
            }
        }
    }

    /// Reads on until the capture fails.
    pub(crate) async fn until_failed(&mut self) -> CaptureError {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let next = self.capture.next().await;
                if let Err(error) = self.take(next) {
                    return error;
                }
            }
        })
        .await
        .expect("it fails in time")
    }

    /// Reads whatever comes for a while, as a live consumer.
    pub(crate) async fn live_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Ok(next) =
            tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), self.capture.next()).await
        {
            self.take(next).unwrap();
        }
    }

    pub(crate) fn ids(&self) -> Vec<i32> {
        self.events.iter().filter_map(|event| event.strip_prefix("I:")).map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn take(&mut self, captured: Captured) -> Result<(), CaptureError> {
        match captured {
            Captured::Data { body, .. } => self.take_message(&body),
            Captured::Keepalive { wal_end } => {
                if !self.open && self.acknowledges {
                    self.capture.acknowledge(Journal::default().commit(wal_end, None));
                }
            }
            Captured::Horizon { .. } => {}
            Captured::Interrupted(error) => self.interruptions.push(error.code()),
            Captured::Resumed(_) => {
                self.resumed += 1;
                self.open = false;
            }
            Captured::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn take_message(&mut self, body: &[u8]) {
        let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().unwrap());
        match body[0] {
            b'B' => {
                self.open = true;
                self.current = (number(1), 0);
            }
            b'C' => {
                self.open = false;
                if self.acknowledges {
                    self.capture.acknowledge(Journal::default().commit(Lsn(number(10)), None));
                }
            }
            tag @ (b'I' | b'U' | b'D') => self.keep(format!("{}:{}", char::from(tag), first_column(body))),
            b'M' => self.keep(format!("M:{}", text_until_zero(&body[10..]))),
            _ => {}
        }
    }

    fn keep(&mut self, event: String) {
        self.current.1 += 1;
        if self.current > self.last {
            self.last = self.current;
            self.events.push(event);
        } else {
            self.repeated += 1;
        }
    }
}

fn text_until_zero(bytes: &[u8]) -> String {
    String::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
}

/// The first column of the first tuple: tag, relation, kind, count, then `t`, length, text.
fn first_column(body: &[u8]) -> String {
    let length = u32::from_be_bytes(body[9..13].try_into().unwrap()) as usize;
    String::from_utf8(body[13..13 + length].to_vec()).unwrap()
}
