use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast::model::TableName;
use rowcast::postgres::Conninfo;
use rowcast::probe::{Ask, Probe, ProbeError, RowVerdict};
use rowcast::security::{Question, Reads};
use tokio_postgres::Client;

use crate::postgres::{Server, Stop};

/// A server of the test's own (roles belong to servers), a table, and a role that may see what the test says.
struct Fixture {
    server: Server,
    admin: Client,
}

impl Fixture {
    async fn new(statements: &str) -> Self {
        let server = Server::with(&["max_connections=40"]);
        let admin = server.admin().await;
        let basics = "create role app; create role other; create table public.orders (id int, owner text, note text);";
        admin.batch_execute(&format!("{basics} {statements}")).await.unwrap();
        Self { server, admin }
    }

    fn probe(&self, sessions: usize, timeout: Duration) -> Probe {
        let conninfo = Conninfo::resolve(Some(&self.server.url())).unwrap();
        Probe::new(conninfo.manager(), sessions, timeout).unwrap()
    }

    fn usual(&self) -> Probe {
        self.probe(2, Duration::from_secs(5))
    }

    /// How many sessions of the probe meet this condition on `pg_stat_activity`.
    async fn sessions(&self, condition: &str) -> i64 {
        let sql = format!(
            "select count(*) from pg_stat_activity where application_name = 'rowcast policy' and ({condition})"
        );
        self.admin.query_one(&sql, &[]).await.unwrap().get(0)
    }
}

fn question(condition: &str, settings: &[(&str, &str)]) -> Arc<Question> {
    question_as("app", condition, settings)
}

fn question_as(role: &str, condition: &str, settings: &[(&str, &str)]) -> Arc<Question> {
    Arc::new(Question {
        table: TableName { schema: "public".into(), name: "orders".into() },
        role: role.into(),
        settings: settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        condition: condition.into(),
        reads: Reads::Row,
        binding: None,
    })
}

fn images(ids: impl IntoIterator<Item = usize>) -> Vec<Arc<str>> {
    ids.into_iter().map(|id| format!(r#"{{"id":"{id}","owner":"u{}"}}"#, id % 3).into()).collect()
}

/// One letter for each verdict.
fn letters(verdicts: &[RowVerdict]) -> String {
    let letter = |verdict: &RowVerdict| match verdict {
        RowVerdict::Visible => 'v',
        RowVerdict::Hidden => 'h',
        RowVerdict::Raised(_) => 'R',
        RowVerdict::TimedOut => 'T',
        RowVerdict::Unasked => '-',
    };
    verdicts.iter().map(letter).collect()
}

async fn asked(probe: &Probe, question: &Arc<Question>, ids: impl IntoIterator<Item = usize>) -> String {
    letters(&probe.ask(question, &images(ids)).await.unwrap())
}

#[tokio::test]
async fn each_image_has_its_verdict_in_order_and_null_is_no() {
    let fixture = Fixture::new("").await;
    let probe = fixture.usual();
    let mine = question("owner = current_setting('app.user')", &[("app.user", "u1")]);
    assert_eq!(asked(&probe, &mine, 0..7).await, "hvhhvhh");
    let nothing = question("note = 'x'", &[]);
    assert_eq!(asked(&probe, &nothing, 0..2).await, "hh");
    assert_eq!(asked(&probe, &nothing, 0..0).await, "");
}

/// The statement names something that is gone, and PostgreSQL keeps it none the less until a name may mean something else.
#[tokio::test]
async fn a_condition_is_parsed_once_until_the_catalog_has_changed() {
    let fixture = Fixture::new("alter role postgres set log_statement = 'ddl'").await;
    let probe = fixture.probe(1, Duration::from_secs(5));
    let owned = question("owner = 'u1'", &[]);
    let compared = || fixture.server.log().matches("function pg_temp.rowcast_specimen").count();
    for _ in 0..20 {
        assert_eq!(asked(&probe, &owned, 0..3).await, "hvh");
    }
    let once = compared();
    assert!((1..=2).contains(&once), "{once}");
    fixture.admin.batch_execute("create operator public.@@@@ (rightarg = int4, function = int4abs)").await.unwrap();
    for _ in 0..20 {
        assert_eq!(asked(&probe, &owned, 0..3).await, "hvh");
    }
    assert_eq!(compared(), 2 * once);
}

#[tokio::test]
async fn no_session_is_opened_before_the_first_question() {
    let fixture = Fixture::new("").await;
    let probe = fixture.usual();
    assert_eq!(fixture.sessions("true").await, 0);
    asked(&probe, &question("true", &[]), [1]).await;
    assert_eq!(fixture.sessions("state = 'idle'").await, 1);
}

#[tokio::test]
async fn rows_that_raise_hide_only_themselves() {
    let fixture = Fixture::new("").await;
    let probe = fixture.usual();
    let raises = question("10 / (id % 100) > 0 or owner is null", &[]);
    let verdicts = probe.ask(&raises, &images(1..=512)).await.unwrap();
    for (id, verdict) in (1..=512).zip(&verdicts) {
        let expected = match id % 100 {
            0 => RowVerdict::Raised("22012".into()),
            1..=10 => RowVerdict::Visible,
            _ => RowVerdict::Hidden,
        };
        assert_eq!(*verdict, expected, "{id}");
    }
    let always = question("owner::uuid is not null", &[]);
    assert_eq!(asked(&probe, &always, 0..512).await, "R".repeat(512));
    assert_eq!(asked(&probe, &always, 0..1).await, "R");
}

#[tokio::test]
async fn a_setting_does_not_leak_from_one_question_to_the_next() {
    let fixture = Fixture::new("").await;
    let probe = fixture.probe(1, Duration::from_secs(5));
    let condition = "coalesce(current_setting('app.user', true), 'unset') = owner";
    let verdict = async |owner: &str, settings: &[(&str, &str)]| {
        let image = format!(r#"{{"owner":"{owner}"}}"#).into();
        letters(&probe.ask(&question(condition, settings), &[image]).await.unwrap())
    };
    assert_eq!(verdict("unset", &[]).await, "v");
    assert_eq!(verdict("ann", &[("app.user", "ann")]).await, "v");
    assert_eq!(verdict("ann", &[("APP.User", "bob")]).await, "h");
    assert_eq!(verdict("", &[("app.user", "")]).await, "v");
    // A session that has set it once would say '' from now on.
    assert_eq!(verdict("unset", &[]).await, "v");
    assert_eq!(fixture.sessions("true").await, 1);
}

#[tokio::test]
async fn questions_of_one_call_keep_their_settings_apart() {
    let fixture = Fixture::new("").await;
    let probe = fixture.usual();
    let asks: Vec<Ask> = (0..40)
        .map(|user| {
            let user = format!("u{user}");
            let settings: &[(&str, &str)] = if user.ends_with('3') { &[] } else { &[("app.user", &user)] };
            let condition = "coalesce(current_setting('app.user', true), 'unset') = owner";
            let owners = ["u0", "u1", "unset", ""].map(|owner| format!(r#"{{"owner":"{owner}"}}"#).into());
            Ask { question: question(condition, settings), images: owners.to_vec() }
        })
        .collect();
    for _ in 0..3 {
        let answers = probe.ask_all(&asks).await;
        for (user, answer) in answers.into_iter().enumerate() {
            let expected = match user {
                0 => "vhhh",
                1 => "hvhh",
                _ if user % 10 == 3 => "hhvh",
                _ => "hhhh",
            };
            assert_eq!(letters(&answer.unwrap()), expected, "{user}");
        }
    }
}

#[tokio::test]
async fn what_a_policys_function_sets_for_the_session_is_undone() {
    let statements = "create function public.sly() returns boolean language plpgsql as $$ begin
            perform set_config('app.sly', 'yes', false); perform set_config('statement_timeout', '0', false);
            return current_setting('app.sly') = 'yes'; end $$;";
    let fixture = Fixture::new(statements).await;
    let probe = fixture.probe(1, Duration::from_secs(5));
    assert_eq!(asked(&probe, &question("public.sly()", &[]), [1]).await, "v");
    let kept = question(
        "current_setting('app.sly', true) = 'yes' or current_setting('statement_timeout') <> '5s' \
         or current_user <> 'app'",
        &[],
    );
    assert_eq!(asked(&probe, &kept, [1]).await, "h");
}

#[tokio::test]
async fn the_role_really_applies_to_other_tables_and_their_row_security() {
    let statements = "create table public.members (owner text, org text); insert into public.members values
            ('u0', 'a'), ('u1', 'b'); alter table public.members enable row level security;
            create policy m on public.members using (org = current_setting('app.org'));
            grant select on public.members to app; grant usage on schema public to app;";
    let fixture = Fixture::new(statements).await;
    let probe = fixture.usual();
    let condition = "exists (select 1 from public.members m where m.owner = orders.owner)";
    for (org, expected) in [("a", "vhhv"), ("b", "hvhh"), ("c", "hhhh"), ("a", "vhhv")] {
        assert_eq!(asked(&probe, &question(condition, &[("app.org", org)]), 0..4).await, expected);
    }
    let error = probe.ask(&question_as("other", condition, &[("app.org", "a")]), &images(0..4)).await.unwrap_err();
    assert!(matches!(&error, ProbeError::Unanswerable { sqlstate, .. } if &**sqlstate == "42501"), "{error}");
    assert_eq!(asked(&probe, &question_as("postgres", condition, &[("app.org", "c")]), 0..3).await, "vvh");
}

#[tokio::test]
async fn questions_that_cannot_be_asked_say_so() {
    let fixture = Fixture::new("").await;
    let probe = fixture.usual();
    let wrong = [
        (question_as("nobody", "true", &[]), "ROLE_REFUSED"),
        (question_as("none", "true", &[]), "ROLE_REFUSED"),
        (question("true", &[("row_security", "off")]), "SETTING_REFUSED"),
        (question("true", &[("role", "postgres")]), "SETTING_REFUSED"),
        (question("true", &[("app.a b", "x")]), "SETTING_REFUSED"),
        (question("true", &[("app.x", "\0")]), "SETTING_REFUSED"),
        (question("missing = 1", &[]), "POLICY_UNANSWERABLE"),
        (question("public.missing(id)", &[]), "POLICY_UNANSWERABLE"),
        (question("true) or (true; drop table public.orders", &[]), "POLICY_UNANSWERABLE"),
    ];
    for (question, code) in wrong {
        let error = probe.ask(&question, &images([1])).await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), (code, false), "{question:?}");
        assert_eq!(asked(&probe, &self::question("id = 1", &[]), [1]).await, "v");
    }
    let good = question("id = 1", &[]);
    fixture.admin.batch_execute("alter table public.orders rename to gone").await.unwrap();
    assert_eq!(probe.ask(&good, &images([1])).await.unwrap_err().code(), "POLICY_UNANSWERABLE");
    fixture.admin.batch_execute("alter table public.gone rename to orders").await.unwrap();
    fixture.admin.batch_execute("drop role app").await.unwrap();
    assert_eq!(probe.ask(&good, &images([1])).await.unwrap_err().code(), "ROLE_REFUSED");
}

#[tokio::test]
async fn a_user_who_may_not_become_the_role_is_told() {
    let fixture = Fixture::new("create role engine login").await;
    let conninfo = Conninfo::resolve(Some(&fixture.server.url_as("engine", "postgres"))).unwrap();
    let probe = Probe::new(conninfo.manager(), 1, Duration::from_secs(5)).unwrap();
    let error = probe.ask(&question("true", &[]), &images([1])).await.unwrap_err();
    assert_eq!(error.code(), "ROLE_REFUSED");
    fixture.admin.batch_execute("grant app to engine").await.unwrap();
    assert_eq!(asked(&probe, &question("true", &[]), [1]).await, "v");
}

#[tokio::test]
async fn no_error_tells_a_value() {
    let fixture = Fixture::new("").await;
    let probe = fixture.usual();
    let secrets = question("current_setting('app.user')::uuid is null or id = 1", &[("app.user", "hush")]);
    let verdicts = probe.ask(&secrets, &images(1..4)).await;
    assert!(!format!("{verdicts:?}").contains("hush"));
    let error = probe.ask(&question("true", &[("hush", "hush-too")]), &images([1])).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"));
}

#[tokio::test]
async fn a_policy_that_sleeps_is_ended_in_time() {
    let fixture = Fixture::new("").await;
    let probe = fixture.probe(1, Duration::from_millis(300));
    let sleepy = question("id <> 7 or pg_catalog.pg_sleep(60) is null", &[]);
    let started = Instant::now();
    assert_eq!(asked(&probe, &sleepy, [7]).await, "T");
    assert_eq!(asked(&probe, &sleepy, 1..10).await, "TTTTTTTTT");
    assert_eq!(asked(&probe, &sleepy, 8..10).await, "vv");
    assert!(started.elapsed() < probe.patience() * 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn many_questions_that_sleep_take_no_longer_than_a_call_may() {
    let fixture = Fixture::new("").await;
    let probe = fixture.probe(1, Duration::from_millis(300));
    let sleepy = question("pg_catalog.pg_sleep(60) is null", &[]);
    let asks: Vec<_> = (0..20).map(|id| Ask { question: Arc::clone(&sleepy), images: images([id]) }).collect();
    let started = Instant::now();
    let answers: String = probe.ask_all(&asks).await.into_iter().map(|answer| letters(&answer.unwrap())).collect();
    assert!(started.elapsed() < probe.patience() + Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(answers.starts_with("TT") && answers.ends_with("----------------"), "{answers}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while fixture.sessions("true").await > 0 {
        assert!(Instant::now() < deadline, "the server goes on with an abandoned statement");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked(&probe, &question("true", &[]), [1]).await, "v");
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let fixture = Fixture::new("").await;
    let probe = fixture.probe(1, Duration::from_secs(20));
    let sleepy = question("pg_catalog.pg_sleep(60) is null", &[]);
    let images = images([1]);
    let call = tokio::time::timeout(Duration::from_millis(300), probe.ask(&sleepy, &images));
    assert!(call.await.is_err());
    let deadline = Instant::now() + Duration::from_secs(10);
    while fixture.sessions("true").await > 0 {
        assert!(Instant::now() < deadline, "the session still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked(&probe, &question("true", &[]), [1]).await, "v");
}

#[tokio::test]
async fn a_session_that_is_killed_is_replaced() {
    let fixture = Fixture::new("").await;
    let probe = fixture.probe(1, Duration::from_secs(20));
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowcast policy'";
    let sleepy = question("pg_catalog.pg_sleep(5) is null", &[]);
    let images = images([1]);
    let (answer, ()) = tokio::join!(probe.ask(&sleepy, &images), async {
        while fixture.sessions("state = 'active' and query ~ 'pg_sleep'").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fixture.admin.batch_execute(kill).await.unwrap();
    });
    let error = answer.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("CONNECTION_LOST", true), "{error}");
    assert_eq!(asked(&probe, &question("true", &[]), [1]).await, "v");
}

#[tokio::test]
async fn a_server_that_is_gone_is_said_to_be() {
    let mut fixture = Fixture::new("").await;
    let probe = fixture.usual();
    assert_eq!(asked(&probe, &question("true", &[]), [1]).await, "v");
    fixture.server.stop(Stop::Immediate);
    let error = probe.ask(&question("true", &[]), &images([1])).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(probe.ask(&question("true", &[]), &images([1])).await.unwrap_err().is_transient());
    fixture.server.start();
    assert_eq!(asked(&probe, &question("true", &[]), [1]).await, "v");
}

#[tokio::test]
async fn a_condition_that_writes_is_refused_by_the_server() {
    let statements = "create function public.writes() returns boolean language plpgsql as $$ begin
            insert into public.orders values (1); return true; end $$; grant insert on public.orders to app;";
    let fixture = Fixture::new(statements).await;
    assert_eq!(asked(&fixture.usual(), &question("public.writes()", &[]), [1]).await, "R");
}

/// The prepared statement names columns by number, the images name them by name.
#[tokio::test]
async fn a_column_that_was_renamed_is_not_taken_for_null() {
    let fixture = Fixture::new("").await;
    let probe = fixture.probe(1, Duration::from_secs(5));
    let secret = question("owner is null", &[]);
    for _ in 0..8 {
        assert_eq!(asked(&probe, &secret, [1]).await, "h");
    }
    fixture.admin.batch_execute("alter table public.orders rename owner to keeper").await.unwrap();
    assert_eq!(probe.ask(&secret, &images([1])).await.unwrap_err().code(), "POLICY_UNANSWERABLE");
    fixture.admin.batch_execute("alter table public.orders rename note to owner").await.unwrap();
    assert_eq!(asked(&probe, &secret, [1]).await, "h");
    fixture
        .admin
        .batch_execute("alter table public.orders drop owner; alter table public.orders add owner text")
        .await
        .unwrap();
    assert_eq!(asked(&probe, &secret, [1]).await, "h");
}

/// Figures for the documentation: `cargo test --release --test it probe::ask::figures -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn figures() {
    let statements = "create table public.members (owner text primary key); insert into public.members select 'u' || i
            from generate_series(1, 1000) i; grant select on public.members to app; analyze public.members;";
    let fixture = Fixture::new(statements).await;
    let probe = fixture.usual();
    let conditions = [
        ("simple", "owner = current_setting('app.user')"),
        ("subquery", "exists (select 1 from public.members m where m.owner = orders.owner)"),
    ];
    for (name, condition) in conditions {
        for (lanes, size) in [(1, 1), (1, 100), (1, 512), (1, 1000), (16, 1), (64, 1), (64, 8)] {
            let ask = |user: usize| {
                let user = format!("u{user}");
                Ask { question: question(condition, &[("app.user", &user)]), images: images(0..size) }
            };
            let asks: Vec<_> = (0..lanes).map(ask).collect();
            let rounds = 4000 / (lanes * size).clamp(4, 200);
            for _ in 0..10 {
                probe.ask_all(&asks).await;
            }
            let started = Instant::now();
            for _ in 0..rounds {
                assert!(probe.ask_all(&asks).await.iter().all(Result::is_ok));
            }
            let trip = started.elapsed() / u32::try_from(rounds).unwrap();
            let each = trip / u32::try_from(lanes * size).unwrap();
            println!("{name:9} {lanes:3} lanes x {size:4} images: {trip:9.1?} a trip, {each:9.1?} an image");
        }
    }
}
