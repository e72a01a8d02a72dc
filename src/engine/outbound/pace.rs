//! How fast events are delivered: as fast as the senders send, without waiting for a slow client.
//!
//! A burst (one transaction of a million rows) is read from the WAL faster than an event loop can send it. If every
//! queue simply filled to its bound, all clients would be cut off for a slowness that is ours. So the stream waits when
//! *most* sessions with waiting frames are behind: then the sender is the bottleneck, and the WAL keeps what is not read.
//! When *few* are behind they are slow clients: the stream goes on and their queues reach their bound. The stream never
//! waits for a session whose sender has not come for [`STUCK`]: its client does not read at all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A session is behind from this part of its `queue_bytes_max` on. The rest is room until the stream waits.
const BEHIND_PART: usize = 8;
/// A sender serves 1,000 sessions in turns of 64 frames in about 0.6 s; this is well beyond.
const STUCK: Duration = Duration::from_secs(2);
/// How often a waiting stream looks again. Tokio's timers are this exact.
const GLANCE: Duration = Duration::from_millis(1);

/// Counts the sessions that are behind, so that a stream that keeps up pays one load.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    behind: AtomicUsize,
}

/// Where one session's sender stands.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Milliseconds since `born` when the sender last came, or when it was last rung for an empty queue.
    since: AtomicU64,
    born: Instant,
    waiting: AtomicBool,
    behind: AtomicBool,
    behind_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SenderState {
    Idle,
    Keeping,
    Behind,
    Stuck,
}

impl Sender {
    pub(crate) fn new(queue_bytes_max: usize) -> Self {
        Sender {
            since: AtomicU64::new(0),
            born: Instant::now(),
            waiting: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            behind_bytes: queue_bytes_max / BEHIND_PART,
        }
    }

    /// The queue was empty and the sender was rung.
    pub(crate) fn rung(&self) {
        self.touch();
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// The queue holds this much after a push. Called under the queue's lock, as is [`came`](Self::came).
    pub(crate) fn queued(&self, bytes: usize, pace: &Pace) {
        if bytes > self.behind_bytes && !self.behind.swap(true, Ordering::Relaxed) {
            pace.behind.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sender came and left this much.
    pub(crate) fn came(&self, bytes: usize, pace: &Pace) {
        self.touch();
        self.waiting.store(bytes > 0, Ordering::Relaxed);
        if bytes <= self.behind_bytes && self.behind.swap(false, Ordering::Relaxed) {
            pace.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn touch(&self) {
        self.since.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn standing(&self) -> SenderState {
        let ago = self.born.elapsed().saturating_sub(Duration::from_millis(self.since.load(Ordering::Relaxed)));
        match (self.behind.load(Ordering::Relaxed), self.waiting.load(Ordering::Relaxed)) {
            (_, true) if ago > STUCK => SenderState::Stuck,
            (true, _) => SenderState::Behind,
            (false, true) => SenderState::Keeping,
            (false, false) if ago < STUCK => SenderState::Keeping,
            (false, false) => SenderState::Idle,
        }
    }
}

impl Pace {
    /// Returns when the next event may be delivered. `senders` visits those of all sessions.
    pub(crate) async fn wait(&self, senders: impl Fn(&mut dyn FnMut(&Sender))) {
        while self.behind.load(Ordering::Relaxed) > 0 && are_behind(&senders) {
            tokio::time::sleep(GLANCE).await;
        }
    }
}

fn are_behind(senders: &impl Fn(&mut dyn FnMut(&Sender))) -> bool {
    let (mut behind, mut active) = (0, 0);
    senders(&mut |sender| match sender.standing() {
        SenderState::Idle | SenderState::Stuck => {}
        SenderState::Keeping => active += 1,
        SenderState::Behind => {
            behind += 1;
            active += 1;
        }
    });
    most(behind, active)
}

fn most(behind: usize, active: usize) -> bool {
    behind > 0 && behind * 2 >= active
}

#[cfg(test)]
mod tests {
    use super::{Pace, Sender, SenderState, most};
    use std::sync::atomic::Ordering;

    #[test]
    fn a_session_is_behind_until_its_sender_has_carried_enough_away() {
        let (pace, sender) = (Pace::default(), Sender::new(800));
        sender.rung();
        sender.queued(101, &pace);
        sender.queued(500, &pace);
        assert_eq!((sender.standing(), pace.behind.load(Ordering::Relaxed)), (SenderState::Behind, 1));
        sender.came(101, &pace);
        assert_eq!(sender.standing(), SenderState::Behind);
        sender.came(100, &pace);
        assert_eq!((sender.standing(), pace.behind.load(Ordering::Relaxed)), (SenderState::Keeping, 0));
    }

    #[test]
    fn a_few_who_are_behind_are_not_waited_for() {
        assert!(most(1, 1) && most(50, 100) && most(1, 2));
        assert!(!most(0, 0) && !most(1, 3) && !most(49, 100));
    }
}
