//! Counters and gauges of one engine. Relaxed atomics: each is a fact of its own, none orders anything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// All of them. A `_total` only grows; the others go up and down.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Metric,)+
            /// Bytes that may be written before the server gives the slot up; absent if it has no limit.
            pub slot_safe_bytes: OptionalMetric,
        }

        impl Metrics {
            /// Name and value of each that has one, in declaration order.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                let mut all = vec![$((stringify!($name), self.$name.get()),)+];
                all.extend(self.slot_safe_bytes.get().map(|bytes| ("slot_safe_bytes", bytes)));
                all
            }
        }
    };
}

metrics! {
    /// Events that capture and decode brought, repeats and backlog left out.
    events_total,
    /// Events that the server repeated after a reconnect; they are not delivered twice.
    events_repeated_total,
    /// Events from before this process served.
    events_backlog_total,
    /// Subscriptions that resumed after a cursor.
    resumes_total,
    /// Events replayed to resumed subscriptions, one for each subscription and event.
    events_replayed_total,
    /// Snapshots that were begun.
    snapshots_total,
    /// Rows delivered in snapshots.
    snapshot_rows_total,
    /// Bytes of recent events, kept for clients that resume.
    replay_window_bytes,
    /// Results put into queues, one for each subscription told.
    deliveries_total,
    /// Results serialized; `deliveries_total` divided by this is how often a payload was shared.
    payloads_total,
    /// Matches that the gate refused: 0 while the index and the gate agree.
    gate_refusals_total,
    /// Subscriptions refused by the federation module.
    federation_refusals_total,
    /// Subscriptions refused by the scope module.
    scope_refusals_total,
    /// Subscriptions refused by the tenant module.
    tenant_refusals_total,
    /// Subscriptions refused by the row policy module.
    row_policy_refusals_total,
    /// Subscriptions refused by the columns module.
    columns_refusals_total,
    /// Connections beyond the rate of their address.
    rate_limited_connects_total,
    /// Operations beyond the rate of their principal.
    rate_limited_subscribes_total,
    /// Sockets closed for messages beyond the rate of their principal.
    rate_limited_messages_total,
    /// Subscriptions with a delegated row policy beyond the rate of their principal.
    rate_limited_delegated_total,
    /// Logical messages that were not understood.
    messages_ignored_total,
    /// Resolver calls handed to Python.
    resolver_calls_total,
    /// Resolver calls that raised, timed out or returned what the schema does not allow.
    resolver_failures_total,
    /// Row images on which PostgreSQL evaluated a delegated policy.
    policy_delegated_total,
    /// Statements that did so, without the splits of raising ones.
    policy_batches_total,
    /// Row images on which a policy raised, and questions that could not be asked.
    policy_errors_total,
    /// Statements of policies that ran into `policy_timeout_s`.
    policy_timeouts_total,
    /// Sessions closed because they read too slowly.
    slow_clients_total,
    /// Results that were not sent since a later one of the same row stands for them (`slow_client: "coalesce"`).
    coalesced_total,
    /// Times that the connection to the server was lost.
    capture_interruptions_total,
    /// Gaps: times that changes were lost, which subscribers get as `GAP`.
    gaps_total,
    /// Open sessions.
    sessions,
    /// Bytes that wait for their clients, as `queue_bytes_max` counts them: what several share is counted for each.
    queue_bytes,
    /// Live subscriptions.
    subscriptions,
    /// Resolver calls that wait or run.
    resolver_calls,
    /// Row images that wait for PostgreSQL's word.
    policy_waiting,
    /// 1 while the replication stream flows, 0 while it is interrupted, has failed or there is none.
    capture_streaming,
    /// 1 when the replication stream has ended for good.
    capture_failed,
    /// 1 while the catalog has changed and could not be read again.
    catalog_stale,
    /// Commit LSN of the newest event; of an outbox, its position.
    commit_lsn,
    /// LSN confirmed to the server.
    confirmed_lsn,
    /// Bytes of WAL that the server keeps for the slot, as it was looked up last.
    slot_retained_bytes,
    /// Bytes of the outbox, as they were looked up last.
    outbox_bytes,
}

/// One number.
#[derive(Debug, Default)]
pub struct Metric(AtomicU64);

impl Metric {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes `n` away from a gauge.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// Replaces a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A gauge that may have no value. It holds the value plus one, and 0 for none.
#[derive(Debug, Default)]
pub struct OptionalMetric(AtomicU64);

impl OptionalMetric {
    /// Replaces it.
    pub fn set(&self, value: Option<u64>) {
        self.0.store(value.map_or(0, |value| value.saturating_add(1)), Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> Option<u64> {
        self.0.load(Relaxed).checked_sub(1)
    }
}
