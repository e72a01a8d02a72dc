//! Several hosts in one connection string: which of them is used.

use crate::capture::reader::{prepared, settings};
use crate::postgres::{Server, Stop};
use rowcast::capture::CaptureError;
use rowcast::postgres::Conninfo;

/// A server that stays in recovery.
fn standby() -> Server {
    let mut server = Server::logical();
    server.stop(Stop::Fast);
    std::fs::write(server.data().join("standby.signal"), "").unwrap();
    server.start();
    server
}

fn hosts(first: &Server, second: &Server, target: &str) -> Conninfo {
    let (first, second) = (first.port(), second.port());
    let url = format!(
        "host=127.0.0.1,127.0.0.1 port={first},{second} user=postgres dbname=postgres sslmode=disable {target}"
    );
    Conninfo::resolve(Some(&url)).unwrap()
}

async fn is_in_recovery(conninfo: &Conninfo) -> Result<bool, CaptureError> {
    let (client, _driver) = conninfo.connect().await?;
    Ok(client.query_one("select pg_is_in_recovery()", &[]).await.unwrap().get(0))
}

#[tokio::test]
async fn the_primary_is_found_among_several_hosts_wherever_it_stands() {
    let (primary, standby) = (prepared(&[]).await, standby());
    for target in ["", "target_session_attrs=any", "target_session_attrs=primary", "target_session_attrs=read-write"] {
        for (first, second) in [(&primary, &standby), (&standby, &primary)] {
            let conninfo = hosts(first, second, target);
            assert!(!is_in_recovery(&conninfo).await.unwrap(), "{target}");
            let capture = rowcast::capture::Capture::wal(conninfo, settings(), None).await.unwrap();
            capture.stop().await;
        }
    }
}

#[tokio::test]
async fn a_host_that_refuses_us_does_not_hide_the_primary_and_says_why_if_there_is_none() {
    let (primary, standby) = (prepared(&[]).await, standby());
    standby.set_hba("host all all 127.0.0.1/32 reject");
    assert!(!is_in_recovery(&hosts(&standby, &primary, "")).await.unwrap());
    let error = is_in_recovery(&hosts(&standby, &standby, "")).await.unwrap_err();
    assert_eq!(error.code(), "AUTHENTICATION_FAILED");
}

#[tokio::test]
async fn where_all_are_standbys_one_is_used_unless_a_primary_was_asked_for() {
    let (one, other) = (standby(), standby());
    assert!(is_in_recovery(&hosts(&one, &other, "")).await.unwrap());
    let error = is_in_recovery(&hosts(&one, &other, "target_session_attrs=primary")).await.unwrap_err();
    assert_eq!(error.code(), "SERVER_IS_STANDBY");
}
