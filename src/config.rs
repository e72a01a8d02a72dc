//! What the user may set, parsed once into types that cannot hold a mistake.

use std::time::Duration;

use serde::Deserialize;

use crate::catalog::{CaptureMode, WrittenTable};
use crate::graphql::Naming;
use crate::graphql::{self, DEPTH_MOST};
use crate::journal::Window;
use crate::model::Timestamp;
use crate::predicate::FilterLimits;
use crate::security::GateRules;
use crate::security::scope::ProtectedVariables;
use crate::session::Limits;

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// What this process publishes; nothing is kept.
    Memory,
    /// Changes of written tables, published by hand, with a clock that is moved by hand: for tests.
    Rehearsal(Rehearsal),
    /// Committed changes of a PostgreSQL database.
    PostgreSql(PostgreSqlBus),
}

/// What a test needs in place of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// The tables that there are.
    pub tables: Vec<WrittenTable>,
    /// The roles that there are.
    pub roles: Vec<String>,
    /// Where the clock stands.
    pub begins: Timestamp,
}

/// How to reach the database and what to call things there.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgreSqlBus {
    /// libpq URL or key=value string; `None` leaves all to the `PG*` environment variables.
    pub url: Option<String>,
    /// The pool of logical replication slots; `None` names it after the database: see [`SlotPool::name`](crate::capture::SlotPool::name).
    pub slot: Option<String>,
    /// The publication that migrations create.
    pub publication: String,
    /// How changes are captured; `None` leaves it to what the database has and allows.
    pub capture: Option<CaptureMode>,
}

impl std::fmt::Debug for PostgreSqlBus {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgreSqlBus")
            .field("slot", &self.slot)
            .field("publication", &self.publication)
            .field("capture", &self.capture)
            .finish_non_exhaustive()
    }
}

/// Limits and options of one engine. Names carry their unit; the worst case in memory is
/// `16 * sessions * queue_bytes_max + resolver lanes * resolver_backlog_bytes_max + policy lanes * policy_backlog_bytes_max`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names in the schema: `camel` (default) or `database`.
    #[serde(with = "NamingName")]
    pub naming: Naming,
    /// Whether introspection queries are answered.
    pub introspection: bool,
    /// Whether missing migrations are applied at start.
    pub auto_migrate: bool,
    /// Whether watched tables that are not declared are served too, without scopes or any other rule of a declaration.
    pub serve_watched: bool,
    /// What happens to a slow client, unless a field's declaration says otherwise.
    pub slow_client: SlowClient,
    /// Bytes of frames that may wait for one client. At the bound as `slow_client` says.
    pub queue_bytes_max: usize,
    /// Seconds that the oldest frame may wait for its client. At the bound as `queue_bytes_max`.
    pub queue_age_max_s: f64,
    /// Seconds that a client has for its `connection_init`; then 4408.
    pub init_wait_s: f64,
    /// Seconds between the server's pings.
    pub ping_interval_s: f64,
    /// Seconds that a client has for its pong; then the session closes.
    pub pong_timeout_s: f64,
    /// Operations that one connection may have at once; one more is refused with an `error`.
    pub operations_max: usize,
    /// Bytes of one message from a client; a longer one closes the session.
    pub message_bytes_max: usize,
    /// Bytes that a client may send behind an unanswered `connection_init`; beyond it the session closes.
    pub held_bytes_max: usize,
    /// How large one GraphQL request may be.
    pub request: graphql::Limits,
    /// How large one `where` argument may be.
    pub filter: FilterLimits,
    /// Bytes of events that may wait for one resolver lane (resolver, variables, and tenant unless events are for
    /// several). At the bound its subscriptions end with `RESOLVER_OVERLOADED`.
    pub resolver_backlog_bytes_max: usize,
    /// Sessions in which PostgreSQL evaluates delegated row policies; opened when first needed. One is
    /// kept for policies that are slow or fail.
    pub policy_sessions: usize,
    /// Seconds after which such a statement is cancelled.
    pub policy_timeout_s: f64,
    /// Bytes of events that may wait for one such policy, as one role with the same settings. At the bound whoever an
    /// event concerns ends with `POLICY_OVERLOADED`.
    pub policy_backlog_bytes_max: usize,
    /// Bytes of recent events that are kept for subscribers who come back with a cursor; the slot keeps their WAL.
    pub replay_window_bytes: usize,
    /// Seconds that they are kept.
    pub replay_window_s: f64,
    /// Seconds after which a slot of the pool that no process streams from is dropped.
    pub slot_idle_s: f64,
    /// This service's name in a federated graph; without one the schema is not a subgraph.
    pub service: Option<String>,
    /// GraphQL variables that must equal an attribute of the principal, by name.
    pub protected_variables: ProtectedVariables,
    /// How much of what a principal or an address may do in a second.
    pub limits: RateLimits,
}

/// What happens to results of a slow client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlowClient {
    /// The session closes with 1013 and its last cursor: a client that resumes misses nothing.
    #[default]
    Disconnect,
    /// The latest result of each row is kept, and the one with which a row leaves the view. What still does not fit
    /// closes the session.
    Coalesce,
}

/// What is limited. `None` (`null`) means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Connections of one address. Beyond it: 1013 with the wait. None by default: behind a proxy that hides its clients
    /// all clients have one address.
    pub connects: Option<Rate>,
    /// Operations that one principal starts. Beyond it: an `error` with the wait.
    pub subscribes: Option<Rate>,
    /// Messages of one principal, on all of its sockets. Beyond it: 4429 with the wait.
    pub messages: Option<Rate>,
    /// Subscriptions of one principal with a delegated row policy. Beyond it as `subscribes`.
    pub delegated: Option<Rate>,
}

/// So many in a second for ever, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Per second.
    pub per_s: f64,
    /// At once.
    pub burst: u32,
}

impl Default for RateLimits {
    /// No honest client meets these: 20,000 sockets of one principal can come back at once.
    fn default() -> Self {
        RateLimits {
            connects: None,
            subscribes: Some(Rate { per_s: 1_000.0, burst: 20_000 }),
            messages: Some(Rate { per_s: 5_000.0, burst: 100_000 }),
            delegated: Some(Rate { per_s: 100.0, burst: 2_000 }),
        }
    }
}

/// How [`Naming`] is written.
#[derive(Deserialize)]
#[serde(remote = "Naming", rename_all = "lowercase")]
enum NamingName {
    Camel,
    Database,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            naming: Naming::Camel,
            introspection: true,
            auto_migrate: true,
            serve_watched: false,
            slow_client: SlowClient::Disconnect,
            queue_bytes_max: 1024 * 1024,
            queue_age_max_s: 30.0,
            init_wait_s: 3.0,
            ping_interval_s: 12.0,
            pong_timeout_s: 12.0,
            operations_max: 100,
            message_bytes_max: 256 * 1024,
            held_bytes_max: 64 * 1024,
            request: graphql::Limits::default(),
            filter: FilterLimits::default(),
            resolver_backlog_bytes_max: 16 * 1024 * 1024,
            replay_window_bytes: 64 * 1024 * 1024,
            replay_window_s: 300.0,
            slot_idle_s: 3600.0,
            service: None,
            protected_variables: ProtectedVariables::default(),
            limits: RateLimits::default(),
            policy_sessions: 4,
            policy_timeout_s: 1.0,
            policy_backlog_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// The settings make no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not the JSON that was expected.
    #[error("settings: {0}")]
    Json(#[from] serde_json::Error),
    /// A number outside its range.
    #[error("setting {name}: {problem}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What is wrong and what is allowed.
        problem: &'static str,
    },
}

impl Settings {
    /// Parses and checks a JSON object; what it leaves out has its default.
    pub fn parse(json: &str) -> Result<Self, ConfigError> {
        let settings: Settings = serde_json::from_str(json)?;
        settings.check()?;
        Ok(settings)
    }

    /// What each session is held to.
    pub(crate) fn session_limits(&self) -> Limits {
        Limits {
            init_wait: Duration::from_secs_f64(self.init_wait_s),
            ping_interval: Some(Duration::from_secs_f64(self.ping_interval_s)),
            pong_timeout: Duration::from_secs_f64(self.pong_timeout_s),
            message_bytes_max: self.message_bytes_max,
            operations_max: self.operations_max,
            held_bytes_max: self.held_bytes_max,
            queue_bytes_max: self.queue_bytes_max,
            queue_age_max: Duration::from_secs_f64(self.queue_age_max_s),
        }
    }

    /// What is kept for subscribers who come back.
    pub(crate) fn replay_window(&self) -> Window {
        Window { bytes_max: self.replay_window_bytes, age_max: Duration::from_secs_f64(self.replay_window_s) }
    }

    pub(crate) fn gate_rules(&self) -> GateRules {
        GateRules { service: self.service.clone(), protected_variables: self.protected_variables.clone() }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let seconds = [
            ("replay_window_s", self.replay_window_s),
            ("slot_idle_s", self.slot_idle_s),
            ("queue_age_max_s", self.queue_age_max_s),
            ("init_wait_s", self.init_wait_s),
            ("ping_interval_s", self.ping_interval_s),
            ("pong_timeout_s", self.pong_timeout_s),
            ("policy_timeout_s", self.policy_timeout_s),
        ];
        for (name, value) in seconds {
            if !(value > 0.0 && value <= 86_400.0) {
                return Err(ConfigError::Range { name, problem: "must be more than 0 and at most 86400 seconds" });
            }
        }
        let sizes = [
            ("queue_bytes_max", self.queue_bytes_max),
            ("operations_max", self.operations_max),
            ("message_bytes_max", self.message_bytes_max),
            ("held_bytes_max", self.held_bytes_max),
            ("request.query_bytes_max", self.request.query_bytes_max),
            ("request.tokens_max", self.request.tokens_max),
            ("request.depth_max", self.request.depth_max),
            ("request.fields_max", self.request.fields_max),
            ("request.values_bytes_max", self.request.values_bytes_max),
            ("filter.depth_max", self.filter.depth_max),
            ("filter.conditions_max", self.filter.conditions_max),
            ("filter.members_max", self.filter.members_max),
            ("resolver_backlog_bytes_max", self.resolver_backlog_bytes_max),
            ("policy_backlog_bytes_max", self.policy_backlog_bytes_max),
            ("replay_window_bytes", self.replay_window_bytes),
        ];
        match sizes.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::Range { name, problem: "must be at least 1" }),
            None => self.check_ranges(),
        }
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        if self.request.depth_max > DEPTH_MOST {
            return Err(ConfigError::Range { name: "request.depth_max", problem: "must be at most 64" });
        }
        if self.filter.depth_max > FilterLimits::DEPTH_MOST {
            return Err(ConfigError::Range { name: "filter.depth_max", problem: "must be at most 64" });
        }
        if !(2..=64).contains(&self.policy_sessions) {
            return Err(ConfigError::Range { name: "policy_sessions", problem: "must be between 2 and 64" });
        }
        self.limits.check()?;
        match self.service.as_deref() {
            Some("") => Err(ConfigError::Range { name: "service", problem: "must have a name, or be left out" }),
            _ => Ok(()),
        }
    }
}

impl RateLimits {
    fn check(&self) -> Result<(), ConfigError> {
        let rates = [
            ("limits.connects", self.connects),
            ("limits.subscribes", self.subscribes),
            ("limits.messages", self.messages),
            ("limits.delegated", self.delegated),
        ];
        // A burst that takes decades to come back would not fit the limiter's nanoseconds.
        let is_right = |rate: &Rate| {
            (0.001..=1_000_000.0).contains(&rate.per_s) && rate.burst > 0 && f64::from(rate.burst) / rate.per_s <= 1e9
        };
        match rates.iter().find(|(_, rate)| rate.as_ref().is_some_and(|rate| !is_right(rate))) {
            Some((name, _)) => {
                let problem = "needs per_s from 0.001 to 1000000 and a burst from 1 to what a billion seconds bring back, \
                               or null for no limit";
                Err(ConfigError::Range { name, problem })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, RateLimits, Settings};

    #[test]
    fn an_unknown_setting_is_named() {
        let error = Settings::parse(r#"{"queue_byte_max": 1}"#).unwrap_err();
        assert!(error.to_string().contains("queue_byte_max"), "{error}");
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        for json in [
            r#"{"init_wait_s": 0}"#,
            r#"{"operations_max": 0}"#,
            r#"{"ping_interval_s": 1e9}"#,
            r#"{"request": {"depth_max": 65}}"#,
            r#"{"request": {"depth": 1}}"#,
            r#"{"filter": {"members_max": 0}}"#,
        ] {
            assert!(Settings::parse(json).is_err(), "{json}");
        }
        let settings = Settings::parse(r#"{"request": {"fields_max": 7}, "filter": {"depth_max": 3}}"#).unwrap();
        assert_eq!((settings.request.fields_max, settings.request.depth_max, settings.filter.depth_max), (7, 64, 3));
        assert!(Settings::parse("{}").is_ok());
    }

    #[test]
    fn a_rate_is_whole_or_off_and_what_is_left_out_has_its_default() {
        let settings = Settings::parse(r#"{"limits": {"messages": null, "connects": {"per_s": 0.5, "burst": 1}}}"#);
        let limits = settings.unwrap().limits;
        assert_eq!((limits.messages, limits.connects), (None, Some(Rate { per_s: 0.5, burst: 1 })));
        assert_eq!(limits.subscribes, RateLimits::default().subscribes);
        for wrong in [
            r#"{"messages": {"per_s": 0, "burst": 1}}"#,
            r#"{"messages": {"per_s": 1, "burst": 0}}"#,
            r#"{"messages": {"per_s": 1}}"#,
            r#"{"message": null}"#,
        ] {
            let error = Settings::parse(&format!(r#"{{"limits": {wrong}}}"#)).unwrap_err();
            assert!(error.to_string().contains("message") || error.to_string().contains("burst"), "{error}");
        }
    }
}
