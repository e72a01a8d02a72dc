//! From a session to a running stream: is this the server, can it decode, is the publication there, is the slot ours
//! and whole; then `START_REPLICATION`. The same checks run at the first start and after every outage, but only the first
//! start may make a slot: one that is made later would hide a gap.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;

use super::link::{Link, Row};
use super::settings::WalSettings;
use super::startup;
use crate::capture::captured::ServerIdentity;
use crate::capture::error::CaptureError;
use crate::capture::supervisor::Purpose;
use crate::capture::wire::Incoming;
use crate::model::Lsn;
use crate::postgres::{ConnectionError, Conninfo, Endpoint, Found, ServerError, Stream};

/// Logical messages are an option of the output plugin since this version.
const OLDEST: u32 = 14;

/// A standby may keep copies of slots since this version (manual, section 47.2.3 "Replication Slot Synchronization").
const FAILOVER: u32 = 17;

/// A stream that has begun.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) identity: ServerIdentity,
    /// Everything that committed at or after this position follows.
    pub(super) begins_at: Lsn,
    /// Up to here the server need not keep anything; may be less than `begins_at`.
    pub(super) confirmed: Lsn,
    /// The slot was made now.
    pub(super) created: bool,
    /// The server's patience with a silent receiver; zero is endless.
    pub(super) wal_sender_timeout: Duration,
}

/// Opens the stream, or tells why it cannot be.
pub(super) async fn open(info: &Conninfo, settings: &WalSettings, purpose: Purpose) -> Result<Opened, CaptureError> {
    let mut link = startup::connect(info, settings.connect_timeout).await?;
    // A server on a busy disk writes a slot slowly: that is not yet silence.
    link.patience = settings.liveness;
    Opening { info, settings, purpose, link }.run().await
}

struct Opening<'a> {
    info: &'a Conninfo,
    settings: &'a WalSettings,
    purpose: Purpose,
    link: Link,
}

/// What `pg_replication_slots` says of ours.
struct Slot {
    plugin: Option<String>,
    database: Option<String>,
    temporary: bool,
    active_pid: Option<i32>,
    lost: Option<String>,
    confirmed: Lsn,
    /// Whether standbys may keep a copy; unknown where no server can.
    failover: Option<bool>,
}

impl Opening<'_> {
    async fn run(mut self) -> Result<Opened, CaptureError> {
        if self.link.major_version() < OLDEST {
            let version = self.link.version.clone();
            return Err(CaptureError::ServerTooOld { place: self.place(), version });
        }
        let (wal_sender_timeout, database) = self.check_settings().await?;
        let identity = self.check_identity(database).await?;
        self.check_publication().await?;
        let found = self.find_slot().await?;
        let (created, confirmed) = match found {
            Some(slot) => {
                let confirmed = self.check_slot(&slot)?;
                self.survive_failover(&slot).await?;
                (false, confirmed)
            }
            None if self.purpose.may_create() => (true, self.create_slot().await?),
            None => return Err(self.lost("it does not exist any more")),
        };
        self.start().await?;
        let begins_at = confirmed.max(self.purpose.position());
        Ok(Opened { link: self.link, identity, begins_at, confirmed, created, wal_sender_timeout })
    }

    async fn check_identity(&mut self, database: u32) -> Result<ServerIdentity, CaptureError> {
        let row = self.one_row("IDENTIFY_SYSTEM").await?;
        let number = |at: usize| row.get(at).and_then(Option::as_deref).and_then(|text| text.parse::<u64>().ok());
        let (Some(system_id), Some(timeline)) = (number(0), number(1)) else {
            return Err(self.link.session.violation("IDENTIFY_SYSTEM names no system and timeline".to_owned()).into());
        };
        let left = if timeline > 1 { self.history(timeline).await? } else { Vec::new() };
        let now = ServerIdentity { system_id, database, timeline: timeline as u32, left: left.into() };
        match &self.purpose {
            Purpose::Again { identity, seen, .. } => match now.check_follows(identity, *seen) {
                Ok(()) => Ok(now),
                Err(reason) => Err(CaptureError::ServerReplaced { place: self.place(), reason }),
            },
            Purpose::First { .. } => Ok(now),
        }
    }

    async fn history(&mut self, timeline: u64) -> Result<Vec<(u32, Lsn)>, CaptureError> {
        let row = self.one_row(&format!("TIMELINE_HISTORY {timeline}")).await?;
        Ok(switch_points(row.get(1).and_then(Option::as_deref).unwrap_or_default()))
    }

    /// How long the server waits for us, and the database's OID.
    async fn check_settings(&mut self) -> Result<(Duration, u32), CaptureError> {
        let settings = "select current_setting('wal_level'), s.setting, pg_is_in_recovery(), d.oid \
                        from pg_settings s, pg_database d \
                        where s.name = 'wal_sender_timeout' and d.datname = current_database()";
        let row = self.one_row(settings).await?;
        let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        if text(2) == "t" {
            return Err(ConnectionError::ServerIsStandby { place: self.place() }.into());
        }
        if text(0) != "logical" {
            return Err(CaptureError::WalLevelNotLogical { place: self.place(), wal_level: text(0) });
        }
        Ok((Duration::from_millis(text(1).parse().unwrap_or(0)), text(3).parse().unwrap_or(0)))
    }

    async fn check_publication(&mut self) -> Result<(), CaptureError> {
        let found = self.link.query(&publication_query(&self.settings.publication)).await?;
        if found.is_empty() { Err(self.publication_missing()) } else { Ok(()) }
    }

    async fn find_slot(&mut self) -> Result<Option<Slot>, CaptureError> {
        let newer = if self.link.major_version() >= FAILOVER { "invalidation_reason, failover" } else { "null, null" };
        let sql = format!(
            "select plugin, database, temporary, active_pid, wal_status, confirmed_flush_lsn, {newer} \
             from pg_catalog.pg_replication_slots where slot_name = {}",
            escape_literal(&self.settings.slot)
        );
        Ok(self.link.query(&sql).await?.into_iter().next().map(Slot::read))
    }

    /// Ours, whole and free; returns its confirmed position.
    fn check_slot(&self, slot: &Slot) -> Result<Lsn, CaptureError> {
        let mismatch = |reason: String| {
            Err(CaptureError::SlotMismatch { place: self.place(), slot: self.settings.slot.clone(), reason })
        };
        match (slot.plugin.as_deref(), slot.database.as_deref()) {
            (None, _) => return mismatch("it is a physical slot".to_owned()),
            (Some(plugin), _) if plugin != "pgoutput" => return mismatch(format!("its output plugin is {plugin}")),
            (_, Some(database)) if database != self.info.database => {
                return mismatch(format!("it belongs to the database {database:?}"));
            }
            _ => {}
        }
        if let Some(reason) = &slot.lost {
            return Err(self.lost(reason));
        }
        if self.purpose.is_skipped_by(slot.confirmed) {
            return Err(self.lost(&format!("another session moved its position to {}", slot.confirmed)));
        }
        match slot.active_pid {
            Some(pid) => Err(self.active(Some(pid))),
            // A temporary slot that nobody holds is on its way out.
            None if slot.temporary => Err(self.active(None)),
            None => Ok(slot.confirmed),
        }
    }

    async fn create_slot(&mut self) -> Result<Lsn, CaptureError> {
        self.link.ask(&create_command(self.settings, self.link.major_version())).await?;
        let limit = self.settings.slot_create_timeout;
        let rows = match tokio::time::timeout(limit, self.link.answer()).await {
            Ok(answer) => answer.map_err(|error| self.explain(error))?,
            Err(_) => return Err(self.give_up_creation(limit).await),
        };
        let position = rows.first().and_then(|row| row.get(1)).and_then(|text| text.as_deref()?.parse().ok());
        position.ok_or_else(|| self.link.session.violation("a new slot came without a position".to_owned()).into())
    }

    /// A copy of a slot, and one that an older version has made, are not yet kept by standbys.
    async fn survive_failover(&mut self, slot: &Slot) -> Result<(), CaptureError> {
        if slot.failover != Some(false) || slot.temporary {
            return Ok(());
        }
        let name = escape_identifier(&self.settings.slot);
        match self.link.query(&format!("ALTER_REPLICATION_SLOT {name} (FAILOVER true)")).await {
            Err(ConnectionError::Server { server, .. }) if server.sqlstate != "55006" => {
                tracing::warn!(slot = self.settings.slot, %server, "the slot will not survive a failover");
                Ok(())
            }
            altered => altered.map(drop).map_err(|error| self.explain(error)),
        }
    }

    /// A walsender that waits for open transactions does not notice that we left, and would leave a slot behind that
    /// holds WAL for nobody. So the statement is cancelled, and its end awaited.
    async fn give_up_creation(&mut self, waited: Duration) -> CaptureError {
        if let Some(key) = self.link.key {
            let outcome = cancel(self.info, &self.link.endpoint, key, self.link.patience).await;
            tracing::debug!(?outcome, "the creation of a slot was cancelled");
            let _ended = tokio::time::timeout(self.link.patience, self.link.answer()).await;
        }
        CaptureError::SlotBlocked { place: self.place(), slot: self.settings.slot.clone(), seconds: waited.as_secs() }
    }

    async fn start(&mut self) -> Result<(), CaptureError> {
        let command = start_command(self.settings, self.purpose.position());
        self.link.ask(&command).await?;
        let patience = self.link.patience;
        let began = tokio::time::timeout(patience, self.link.receive_start()).await;
        let silence = || self.link.session.lost(format!("no stream began within {} ms", patience.as_millis()));
        match began.unwrap_or_else(|_| Err(silence())) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain_start(error).await),
        }
    }

    /// The slot may have been taken or invalidated since we looked; the view says which in every language.
    async fn explain_start(&mut self, error: ConnectionError) -> CaptureError {
        let ConnectionError::Server { server, .. } = &error else { return error.into() };
        if !["55006", "55000", "42704"].contains(&server.sqlstate.as_str()) {
            return error.into();
        }
        match self.find_slot().await {
            Ok(Some(slot)) => self.check_slot(&slot).err().unwrap_or_else(|| self.explain(error)),
            Ok(None) => self.lost("it does not exist any more"),
            Err(_) => self.explain(error),
        }
    }

    /// What the SQLSTATE means when it is about a slot.
    fn explain(&self, error: ConnectionError) -> CaptureError {
        match error {
            ConnectionError::Server { place, server } => match server.sqlstate.as_str() {
                "53400" => CaptureError::SlotsExhausted { place, slot: self.settings.slot.clone(), server },
                // In use, or made by another process since we looked.
                "55006" | "42710" => self.active(None),
                _ => ConnectionError::Server { place, server }.into(),
            },
            other => other.into(),
        }
    }

    async fn one_row(&mut self, sql: &str) -> Result<Row, CaptureError> {
        let row = self.link.query(sql).await?.into_iter().next();
        row.ok_or_else(|| self.link.session.violation(format!("no row came in answer to {sql:?}")).into())
    }

    fn place(&self) -> String {
        self.link.session.place.clone()
    }

    fn active(&self, pid: Option<i32>) -> CaptureError {
        CaptureError::SlotActive { place: self.place(), slot: self.settings.slot.clone(), pid }
    }

    fn lost(&self, reason: &str) -> CaptureError {
        CaptureError::SlotLost { place: self.place(), slot: self.settings.slot.clone(), reason: reason.to_owned() }
    }

    fn publication_missing(&self) -> CaptureError {
        CaptureError::PublicationMissing { place: self.place(), publication: self.settings.publication.clone() }
    }
}

/// Asks the same server, over a connection of its own, to cancel what a session is doing.
async fn cancel(info: &Conninfo, at: &Endpoint, key: (i32, i32), patience: Duration) -> Result<(), ConnectionError> {
    let mut request = BytesMut::new();
    frontend::cancel_request(key.0, key.1, &mut request);
    let (request, there) = (&request, Conninfo { endpoints: vec![at.clone()], ..info.clone() });
    let send = |mut stream: Stream, endpoint| {
        let place = info.place(endpoint);
        async move {
            let sent = stream.write_all(request).await;
            sent.map_err(|error| ConnectionError::ConnectionLost { place, reason: error.to_string() })?;
            Ok(Found { session: (), is_standby: false })
        }
    };
    there.establish(patience, send).await
}

impl Link {
    async fn receive_start(&mut self) -> Result<(), ConnectionError> {
        let mut failed = None;
        loop {
            match self.receive().await? {
                Incoming::CopyBoth => return Ok(()),
                Incoming::Other(Message::ErrorResponse(body)) => failed = Some(ServerError::read(body.fields())),
                Incoming::Other(Message::ReadyForQuery(_)) => break,
                Incoming::Other(_) => {}
                Incoming::Data(_) => return Err(self.session.violation("data came before its stream".to_owned())),
            }
        }
        let silent = || self.session.violation("START_REPLICATION started nothing".to_owned());
        Err(failed.map_or_else(silent, |server| self.session.refused(server)))
    }
}

impl Slot {
    fn read(row: Row) -> Self {
        let mut row = row.into_iter().chain(std::iter::repeat(None));
        let mut next = || row.next().flatten();
        let (plugin, database, temporary, active_pid) = (next(), next(), next(), next());
        let (status, confirmed, reason, failover) = (next(), next(), next(), next());
        let lost = reason.or(status.filter(|status| status == "lost"));
        Self {
            plugin,
            database,
            temporary: temporary.as_deref() == Some("t"),
            active_pid: active_pid.and_then(|pid| pid.parse().ok()),
            lost: lost
                .map(|reason| format!("PostgreSQL removed WAL that it needs ({reason}; see max_slot_wal_keep_size)")),
            confirmed: confirmed.and_then(|lsn| lsn.parse().ok()).unwrap_or_default(),
            failover: failover.map(|failover| failover == "t"),
        }
    }
}

/// One row when the publication exists.
pub(super) fn publication_query(publication: &str) -> String {
    format!("select 1 from pg_catalog.pg_publication where pubname = {}", escape_literal(publication))
}

/// Options came with version 15; until then they were keywords.
fn create_command(settings: &WalSettings, major: u32) -> String {
    let slot = escape_identifier(&settings.slot);
    let temporary = if settings.temporary { " TEMPORARY" } else { "" };
    let options = match major {
        FAILOVER.. if !settings.temporary => "(SNAPSHOT 'nothing', FAILOVER true)",
        15.. => "(SNAPSHOT 'nothing')",
        _ => "NOEXPORT_SNAPSHOT",
    };
    format!("CREATE_REPLICATION_SLOT {slot}{temporary} LOGICAL pgoutput {options}")
}

/// Publication names are a list of identifiers inside a string, and the replication grammar knows no escapes but `''`.
fn start_command(settings: &WalSettings, position: Lsn) -> String {
    let publication = format!("\"{}\"", settings.publication.replace('"', "\"\"")).replace('\'', "''");
    let slot = escape_identifier(&settings.slot);
    format!(
        "START_REPLICATION SLOT {slot} LOGICAL {position} (proto_version '1', publication_names '{publication}', \
         messages 'true')"
    )
}

/// Where timelines were left, by a history file: lines of timeline, position and reason.
fn switch_points(history: &str) -> Vec<(u32, Lsn)> {
    let lines = history.lines().map(str::split_whitespace);
    lines.filter_map(|mut words| Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Slot, create_command, start_command, switch_points};
    use crate::capture::wal::WalSettings;
    use crate::model::Lsn;

    #[test]
    fn names_survive_the_grammar_of_replication() {
        let command = start_command(&WalSettings::new("s1", "It's \"Mine\""), Lsn(0x1_0000_0002));
        let due = "START_REPLICATION SLOT \"s1\" LOGICAL 1/2 (proto_version '1', publication_names '\"It''s \
                   \"\"Mine\"\"\"', messages 'true')";
        assert_eq!(command, due);
    }

    #[test]
    fn a_history_tells_where_a_timeline_was_left() {
        let history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000148\tbefore 2026\n";
        assert_eq!(switch_points(history), [(1, Lsn(0x300_0000)), (2, Lsn(0x500_0148))]);
        assert_eq!(switch_points("rubbish x\n1"), []);
    }

    #[test]
    fn a_slot_is_lost_when_its_status_or_a_reason_says_so() {
        let slot = |status: &str, reason: Option<&str>| {
            let texts = [Some("pgoutput"), Some("db"), Some("f"), None, Some(status), Some("0/10"), reason, Some("t")];
            Slot::read(texts.iter().map(|text| text.map(str::to_owned)).collect())
        };
        assert!(slot("reserved", None).lost.is_none());
        assert_eq!(slot("extended", None).confirmed, Lsn(16));
        assert!(slot("lost", None).lost.is_some());
        assert!(slot("lost", Some("idle_timeout")).lost.is_some_and(|reason| reason.contains("idle_timeout")));
        assert_eq!(slot("reserved", None).failover, Some(true));
        assert!(Slot::read(Vec::new()).plugin.is_none() && Slot::read(Vec::new()).failover.is_none());
    }

    #[test]
    fn a_new_slot_is_kept_by_standbys_where_they_can() {
        let settings = WalSettings::new("s1", "p");
        let due = "CREATE_REPLICATION_SLOT \"s1\" LOGICAL pgoutput (SNAPSHOT 'nothing', FAILOVER true)";
        assert_eq!(create_command(&settings, 17), due);
        assert!(create_command(&settings, 16).ends_with("pgoutput (SNAPSHOT 'nothing')"));
        assert!(create_command(&settings, 14).ends_with("pgoutput NOEXPORT_SNAPSHOT"));
        let temporary = WalSettings { temporary: true, ..settings };
        assert!(create_command(&temporary, 18).ends_with("\"s1\" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')"));
    }
}
