//! Passes the engine's log lines to Python's `logging`.
//!
//! - Only `tracing` events of this crate are logged: a database driver's lines contain statement parameters.
//! - A log line is one line of text, bounded in bytes. The queue is bounded too: the oldest line is dropped and
//!   counted.
//! - A thread that logs does not wait for the interpreter or a handler. Event loops are woken when lines start to wait.
//!
//! There is one log for the process, as there is one `logging`: with several managers a line goes to whichever comes
//! first. A program that embeds all this and has a subscriber of its own keeps it, and nothing waits here.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Once, OnceLock, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};

use super::home::Home;
use super::hub::Bell;
use crate::adapter::Wake;

/// Lines that may wait.
const LINES_MAX: usize = 1_000;

/// Bytes of a line's message, and of its fields; what is beyond is cut off.
const TEXT_MAX: usize = 4_096;

/// Names the log among the tokens of a hub. No session has it: they are counted from one.
const LOG_LINES: u64 = u64::MAX;

/// The lowest level that is logged, in Python's numbers: WARNING until the application sets another one.
static THRESHOLD: AtomicU8 = AtomicU8::new(30);

/// Installs the listener, unless the process has another `tracing` subscriber.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = tracing::subscriber::set_global_default(Listener);
    });
}

/// Rings this loop when lines wait, those that wait already included.
pub(super) fn follow(bell: &Arc<Bell>) {
    let mut waiting = Log::here().waiting.lock();
    waiting.followers.retain(|follower| follower.strong_count() > 0);
    waiting.followers.push(Arc::downgrade(bell));
    if !waiting.lines.is_empty() {
        bell.wake(LOG_LINES);
    }
}

/// See `_engine.pyi`.
#[pyfunction]
pub(super) fn set_log_level(level: u8) {
    if THRESHOLD.swap(level, Ordering::Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// See `_engine.pyi`.
#[pyfunction]
pub(super) fn take_log(limit: usize) -> (u64, Vec<Line>) {
    Log::here().take(limit)
}

/// Level, logger, text, seconds since 1970, and where in the source.
#[derive(Debug, IntoPyObject)]
pub(super) struct Line(u8, String, String, f64, &'static str, u32);

/// The lines of one process. A fork may happen while another thread holds the lock, so a child process has its own log
/// and never touches its parent's.
#[derive(Debug)]
struct Log {
    home: Home,
    waiting: Mutex<Waiting>,
    childs: OnceLock<Box<Log>>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    lost: u64,
    followers: Vec<Weak<Bell>>,
}

impl Log {
    fn here() -> &'static Log {
        static FIRST: OnceLock<Log> = OnceLock::new();
        let mut log = FIRST.get_or_init(Log::new);
        while !log.home.is_here() {
            log = log.childs.get_or_init(|| Box::new(Log::new()));
        }
        log
    }

    fn new() -> Self {
        Log { home: Home::here(), waiting: Mutex::default(), childs: OnceLock::new() }
    }

    fn put(&self, line: Line) {
        let mut waiting = self.waiting.lock();
        if waiting.lines.len() >= LINES_MAX {
            waiting.lines.pop_front();
            waiting.lost += 1;
        }
        waiting.lines.push_back(line);
        let followers = if waiting.lines.len() == 1 { waiting.followers.clone() } else { Vec::new() };
        drop(waiting);
        ring(&followers);
    }

    /// What is left over is announced again: it may be another loop's turn.
    fn take(&self, limit: usize) -> (u64, Vec<Line>) {
        let mut waiting = self.waiting.lock();
        let count = limit.min(waiting.lines.len());
        let taken = (std::mem::take(&mut waiting.lost), waiting.lines.drain(..count).collect());
        let followers = if waiting.lines.is_empty() { Vec::new() } else { waiting.followers.clone() };
        drop(waiting);
        ring(&followers);
        taken
    }
}

fn ring(followers: &[Weak<Bell>]) {
    followers.iter().filter_map(Weak::upgrade).for_each(|bell| bell.wake(LOG_LINES));
}

/// What `tracing` calls. The engine has no spans, and those of other crates are ignored.
struct Listener;

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata) && number(*metadata.level()) >= THRESHOLD.load(Ordering::Relaxed)
    }

    /// Kept by `tracing` itself: a line below it costs one comparison.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        let threshold = THRESHOLD.load(Ordering::Relaxed);
        let heard = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        let most = heard.into_iter().find(|level| number(*level) >= threshold);
        Some(most.map_or(LevelFilter::OFF, LevelFilter::from_level))
    }

    fn event(&self, event: &tracing::Event<'_>) {
        Log::here().put(line(event));
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().strip_prefix("rowcast");
    metadata.is_event() && ours.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// As `logging` counts; it has no TRACE.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

fn line(event: &tracing::Event<'_>) -> Line {
    let (metadata, mut words) = (event.metadata(), Words::default());
    event.record(&mut words);
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let place = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
    let text = words.message.text + &words.fields.text;
    Line(number(*metadata.level()), logger(metadata.target()), text, at, place.0, place.1)
}

/// By room; the room that puts the others together speaks as the engine.
fn logger(target: &str) -> String {
    match target.split("::").nth(1) {
        None | Some("engine") => "rowcast.engine".to_owned(),
        Some(room) => format!("rowcast.engine.{room}"),
    }
}

/// An event's message, and ` key=value` for each field.
#[derive(Default)]
struct Words {
    message: OneLine,
    fields: OneLine,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }
}

impl Words {
    /// Writing fails when the line is full, which is expected here.
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            let _ = self.message.write_fmt(value);
            return;
        }
        let mut told = OneLine::default();
        let _ = told.write_fmt(value);
        let told = quoted(told.text);
        let _ = write!(self.fields, " {}={told}", field.name());
    }
}

/// A value in which one could not see where it ends.
fn quoted(value: String) -> String {
    let clear = !value.is_empty() && !value.contains([' ', '"', '=']);
    if clear { value } else { format!("\"{}\"", value.replace('"', "\\\"")) }
}

/// Bounded, and without what would begin a line of its own: the words of a server may have been chosen by others.
#[derive(Default)]
struct OneLine {
    text: String,
    is_full: bool,
}

impl Write for OneLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.is_full {
                return Err(fmt::Error);
            }
            self.is_full = self.text.len() >= TEXT_MAX;
            match letter {
                _ if self.is_full => self.text.push('…'),
                '\u{2028}' | '\u{2029}' => self.text.extend(letter.escape_unicode()),
                _ if letter.is_control() => self.text.extend(letter.escape_default()),
                _ => self.text.push(letter),
            }
        }
        Ok(())
    }
}
