//! `rowcast.publish`: a message commits or vanishes with its transaction.

use crate::postgres::Database;
use crate::store::watch::text;
use rowcast::model::Lsn;
use rowcast::store;

#[tokio::test]
async fn a_message_is_sent_on_commit_and_only_then() {
    let (_database, mut client) = Database::migrated().await;
    client
        .query("select pg_create_logical_replication_slot('sent_' || current_database(), 'test_decoding')", &[])
        .await
        .unwrap();
    let lsn = store::publish(&client, "alerts", "{\"text\": \"größe\", \"n\": 12345678901234567890.10}", Some("acme"))
        .await
        .unwrap();
    assert!(lsn > Lsn::default());
    let rolled_back = client.transaction().await.unwrap();
    rolled_back.batch_execute("select rowcast.publish('alerts', '1')").await.unwrap();
    rolled_back.rollback().await.unwrap();
    client.batch_execute("select rowcast.publish('alerts', 'null', tenant => null)").await.unwrap();
    let sent = "select string_agg(substring(data from 'content:(.*)'), e'\\n')
                from pg_logical_slot_get_changes('sent_' || current_database(), null, null) where data like 'message: transactional: 1%'";
    let sent = text(&client, sent).await;
    client.query("select pg_drop_replication_slot('sent_' || current_database())", &[]).await.unwrap();
    let sent: Vec<serde_json::Value> = sent.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0]["topic"], "alerts");
    assert_eq!(sent[0]["tenant"], "acme");
    assert_eq!(sent[0]["payload"]["text"], "größe");
    assert_eq!(sent[1], serde_json::json!({"topic": "alerts", "tenant": null, "payload": null}));
}

#[tokio::test]
async fn what_no_subscriber_could_receive_is_refused() {
    let (_database, client) = Database::migrated().await;
    let long = "x".repeat(256);
    let big = format!("\"{}\"", "x".repeat(1024 * 1024));
    for (topic, payload, tenant) in [
        ("", "1", None),
        (long.as_str(), "1", None),
        ("t", "1", Some("")),
        ("t", "1", Some(long.as_str())),
        ("t", big.as_str(), None),
    ] {
        let error = store::publish(&client, topic, payload, tenant).await.unwrap_err();
        assert_eq!(error.code(), "INVALID_MESSAGE", "{error}");
    }
    for call in ["select rowcast.publish(null, '1')", "select rowcast.publish('t', null)"] {
        assert_eq!(client.batch_execute(call).await.unwrap_err().code().unwrap().code(), "RC006");
    }
    store::publish(&client, &"x".repeat(255), "1", None).await.unwrap();
}

#[tokio::test]
async fn what_is_not_json_is_refused_without_repeating_it() {
    let (_database, client) = Database::migrated().await;
    for payload in ["", "secret", "{", "\"\\u0000\""] {
        let error = store::publish(&client, "t", payload, None).await.unwrap_err();
        assert_eq!(error.code(), "INVALID_JSON", "{payload}: {error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_read_only_transaction_may_publish_where_there_is_no_outbox() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("begin read only; select rowcast.publish('alerts', '1'); commit").await.unwrap();
}
