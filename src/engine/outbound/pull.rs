//! Results that are fetched rather than pushed: what `SubscriptionExecutor.register` subscribes with.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::error::Error;

/// One pulled subscription's results, bounded in bytes; at the bound the subscription ends with `SLOW_CONSUMER`.
pub struct PullQueue {
    state: Mutex<State>,
    arrived: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    results: VecDeque<Bytes>,
    bytes: usize,
    ended: Option<(&'static str, String)>,
}

/// Whether the subscription goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    Overflow,
}

impl PullQueue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        PullQueue { state: Mutex::default(), arrived: Condvar::new(), bytes_max }
    }

    /// Waits for the next result, for ever without a `timeout`. What had arrived before the end is given out first.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Option<Bytes>, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.state.lock();
        loop {
            if let Some(result) = state.results.pop_front() {
                state.bytes -= result.len();
                return Ok(Some(result));
            }
            if let Some((code, message)) = &state.ended {
                return Err(Error::Ended { code, message: message.clone() });
            }
            match deadline {
                None => self.arrived.wait(&mut state),
                Some(deadline) if self.arrived.wait_until(&mut state, deadline).timed_out() => {
                    if state.results.is_empty() && state.ended.is_none() {
                        return Ok(None);
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Whether much more fits.
    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().bytes <= self.bytes_max / 16
    }

    pub(crate) fn push(&self, result: Bytes, cursor: &str) -> Kept {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return Kept::Yes;
        }
        // An empty queue takes any result: one beyond the bound would otherwise end each new subscription again.
        if !state.results.is_empty() && state.bytes + result.len() > self.bytes_max {
            let message =
                format!("more than {} bytes waited to be fetched; the next event was {cursor}", self.bytes_max);
            state.ended = Some(("SLOW_CONSUMER", message));
            self.arrived.notify_all();
            return Kept::Overflow;
        }
        state.bytes += result.len();
        state.results.push_back(result);
        self.arrived.notify_one();
        Kept::Yes
    }

    /// The end for a principal that may see nothing any more: waiting results are dropped.
    pub(crate) fn cut(&self, code: &'static str, message: String) {
        let mut state = self.state.lock();
        *state = State { ended: state.ended.take().or(Some((code, message))), ..State::default() };
        self.arrived.notify_all();
    }

    pub(crate) fn end(&self, code: &'static str, message: String) {
        self.state.lock().ended.get_or_insert((code, message));
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::{Kept, PullQueue};

    #[test]
    fn results_are_fetched_in_order_and_an_empty_queue_says_so() {
        let queue = PullQueue::new(100);
        queue.push(Bytes::from_static(b"1"), "c");
        queue.push(Bytes::from_static(b"2"), "c");
        assert_eq!(queue.next(Some(Duration::ZERO)).unwrap(), Some(Bytes::from_static(b"1")));
        assert_eq!(queue.next(None).unwrap(), Some(Bytes::from_static(b"2")));
        assert_eq!(queue.next(Some(Duration::ZERO)).unwrap(), None);
    }

    #[test]
    fn at_the_bound_the_end_is_told_after_what_had_arrived() {
        let queue = PullQueue::new(2);
        assert_eq!(queue.push(Bytes::from_static(b"abc"), "c1"), Kept::Yes, "an empty queue takes any result");
        assert_eq!(queue.push(Bytes::from_static(b"d"), "c2"), Kept::Overflow);
        assert!(queue.next(None).unwrap().is_some());
        let error = queue.next(None).unwrap_err();
        assert_eq!(error.code(), "SLOW_CONSUMER");
        assert!(error.to_string().contains("c2"), "{error}");
    }

    #[test]
    fn a_cut_drops_what_had_arrived_and_tells_the_first_reason() {
        let queue = PullQueue::new(100);
        queue.push(Bytes::from_static(b"1"), "c");
        queue.cut("REVOKED", "gone".into());
        queue.push(Bytes::from_static(b"2"), "c");
        queue.cut("LATER", "gone".into());
        assert_eq!(queue.next(None).unwrap_err().code(), "REVOKED");
    }

    #[test]
    fn a_waiting_reader_wakes_for_a_result() {
        let queue = Arc::new(PullQueue::new(100));
        let reader = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.next(None)
        });
        queue.push(Bytes::from_static(b"x"), "c");
        assert_eq!(reader.join().unwrap().unwrap(), Some(Bytes::from_static(b"x")));
    }
}
