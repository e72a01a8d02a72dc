"""`SubscriptionExecutor` without sockets: what its methods promise, and how they refuse."""

import json
import threading
import time

import pytest
from talk import pull, topic, wait_for

from rowcast import (
    ConfigurationError,
    ConnectionFailed,
    EventBusConfig,
    NotStarted,
    Principal,
    PublishError,
    RequestRefused,
    SchemaError,
    SubscriptionEnded,
    SubscriptionExecutor,
)
from rowcast._engine import Hub

pytestmark = pytest.mark.timeout(60)

ALERTS = "subscription { alerts { payload cursor } }"


def test_what_is_published_after_register_is_fetched_as_the_bytes_of_a_graphql_response(started):
    engine = started(topic("alerts"))
    engine.publish("alerts", '{"before": true}')
    engine.register("1", ALERTS, principal=Principal())
    engine.publish("alerts", '{"text": "grüße"}')
    body = engine.next_event("1", 5.0)
    assert isinstance(body, bytes)
    response = json.loads(body)
    assert response["data"]["alerts"]["payload"] == {"text": "grüße"}
    assert response["extensions"]["rowcast"]["cursor"] == response["data"]["alerts"]["cursor"]
    assert response["extensions"]["rowcast"]["operation"] == "MESSAGE"
    assert engine.next_event("1") is None


def test_a_payload_keeps_its_digits(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    engine.publish("alerts", '{"n": 12345678901234567890.000000000000000001}')
    assert b"12345678901234567890.000000000000000001" in engine.next_event("1", 5.0)


def test_messages_come_in_the_order_of_publication_whoever_waits(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    publisher = threading.Thread(target=lambda: [engine.publish("alerts", str(n)) for n in range(1000)])
    publisher.start()
    assert [pull(engine, "1")["data"]["alerts"]["payload"] for _ in range(1000)] == list(range(1000))
    publisher.join()


def test_a_message_for_a_tenant_reaches_that_tenant_alone(started):
    engine = started(topic("alerts", public=False))
    for tenant in ("acme", "globex"):
        engine.register(tenant, ALERTS, principal=Principal(tenant_id=tenant))
    engine.publish("alerts", '"for acme"', "acme")
    assert pull(engine, "acme")["data"]["alerts"]["payload"] == "for acme"
    assert engine.next_event("globex") is None


def test_a_message_without_tenant_reaches_everybody_on_a_public_topic_and_nobody_on_another(started):
    engine = started(topic("news"), topic("alerts", public=False))
    engine.register("public", "subscription { news { payload } }", principal=Principal())
    engine.register("member", "subscription { news { payload } }", principal=Principal(tenant_id="acme"))
    engine.register("closed", ALERTS, principal=Principal(tenant_id="acme"))
    engine.publish("news", "1")
    engine.publish("alerts", "2")
    assert pull(engine, "public")["data"]["news"]["payload"] == 1
    assert pull(engine, "member")["data"]["news"]["payload"] == 1
    assert engine.next_event("closed") is None


def test_a_message_for_a_tenant_on_a_public_topic_is_not_for_everybody(started):
    engine = started(topic("news"))
    engine.register("nobody", "subscription { news { payload } }", principal=Principal())
    engine.register("acme", "subscription { news { payload } }", principal=Principal(tenant_id="acme"))
    engine.publish("news", "1", "acme")
    assert pull(engine, "acme")["data"]["news"]["payload"] == 1
    assert engine.next_event("nobody") is None


def test_a_topic_that_is_not_public_wants_a_tenant(started):
    engine = started(topic("alerts", public=False))
    with pytest.raises(RequestRefused) as refused:
        engine.register("1", ALERTS, principal=Principal(user_id="somebody"))
    assert refused.value.code == "TENANT_REQUIRED"
    assert [error["extensions"]["code"] for error in refused.value.errors] == ["TENANT_REQUIRED"]


def test_a_reader_that_waits_is_woken_and_lets_other_threads_run(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    found = []
    reader = threading.Thread(target=lambda: found.append(engine.next_event("1", None)))
    reader.start()
    time.sleep(0.05)
    engine.publish("alerts", "7")
    reader.join(5)
    assert json.loads(found[0])["data"]["alerts"]["payload"] == 7


def test_nothing_comes_after_complete_and_the_id_is_free_again(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    assert engine.complete("1") is True
    assert engine.complete("1") is False
    assert engine.metrics()["subscriptions"] == 0
    with pytest.raises(SubscriptionEnded) as ended:
        engine.next_event("1")
    assert ended.value.code == "SUBSCRIPTION_UNKNOWN"
    engine.register("1", ALERTS, principal=Principal())
    assert engine.next_event("1") is None


def test_complete_wakes_a_reader_that_waits(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    codes = []

    def read():
        try:
            engine.next_event("1", None)
        except SubscriptionEnded as ended:
            codes.append(ended.code)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.05)
    engine.complete("1")
    reader.join(5)
    assert codes == ["COMPLETED"]


def test_stop_wakes_a_reader_that_waits(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    codes = []

    def read():
        try:
            engine.next_event("1", None)
        except SubscriptionEnded as ended:
            codes.append(ended.code)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.05)
    engine.stop()
    reader.join(5)
    assert not reader.is_alive()
    assert codes == ["SHUTTING_DOWN"]


def test_an_id_that_is_taken_is_refused_and_the_first_goes_on(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    with pytest.raises(ConfigurationError) as refused:
        engine.register("1", ALERTS, principal=Principal())
    assert refused.value.code == "SUBSCRIPTION_EXISTS"
    engine.publish("alerts", "1")
    assert pull(engine, "1") is not None


def test_a_refused_request_leaves_its_id_free(started):
    engine = started(topic("alerts"))
    with pytest.raises(RequestRefused):
        engine.register("1", "subscription { nope }", principal=Principal())
    engine.register("1", ALERTS, principal=Principal())


def test_a_reader_that_does_not_fetch_ends_with_slow_consumer_after_what_had_arrived(started):
    engine = started(topic("alerts"), queue_bytes_max=2000)
    engine.register("slow", ALERTS, principal=Principal())
    for number in range(50):
        engine.publish("alerts", str(number))
    told = []

    def fetch_all():
        while True:
            told.append(json.loads(engine.next_event("slow"))["data"]["alerts"]["payload"])

    with pytest.raises(SubscriptionEnded) as ended:
        fetch_all()
    assert ended.value.code == "SLOW_CONSUMER"
    assert told == list(range(len(told)))
    assert told
    wait_for(lambda: engine.metrics()["subscriptions"] == 0, "the subscription to be forgotten")
    assert engine.complete("slow") is True


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("{ __typename }", "OPERATION_NOT_SUPPORTED"),
        ("subscription A { alerts { payload } } subscription B { alerts { cursor } }", "OPERATION_RESOLUTION_FAILURE"),
        ("subscription ($n: Int!) { alerts { payload } }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_a_refused_request_says_why_with_a_code(started, query, code):
    engine = started(topic("alerts"))
    with pytest.raises(RequestRefused) as refused:
        engine.register("1", query, principal=Principal())
    assert refused.value.code == code
    assert refused.value.errors[0]["extensions"]["code"] == code
    assert refused.value.errors[0]["message"]


def test_an_operation_is_chosen_by_its_name(started):
    engine = started(topic("alerts"))
    query = "subscription A { alerts { payload } } subscription B { alerts { topic } }"
    engine.register("b", query, principal=Principal(), operation_name="B")
    engine.publish("alerts", "1")
    assert pull(engine, "b")["data"] == {"alerts": {"topic": "alerts"}}


@pytest.mark.parametrize("variables", ["{", "[1]", "7"])
def test_variables_that_are_no_json_object_are_a_value_error(started, variables):
    engine = started(topic("alerts"))
    with pytest.raises(ValueError, match="variables"):
        engine.register("1", ALERTS, variables, principal=Principal())
    with pytest.raises(ValueError, match="variables"):
        engine.execute("{ __typename }", variables)


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_a_timeout_that_is_no_time_is_a_value_error(started, timeout):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    with pytest.raises(ValueError, match="timeout"):
        engine.next_event("1", timeout)
    with pytest.raises(ValueError, match="timeout"):
        engine.stop(timeout)


def test_a_payload_that_is_no_json_is_not_published(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal())
    with pytest.raises(PublishError):
        engine.publish("alerts", "{")
    assert engine.next_event("1") is None


@pytest.mark.parametrize(
    "settings", ["nope", '{"queue_byte_max": 1}', '{"operations_max": 0}', '{"ping_interval_s": -1}']
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigurationError) as refused:
        SubscriptionExecutor(EventBusConfig.memory(), settings=settings)
    assert refused.value.code == "SETTINGS_INVALID"


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ("{}", ConfigurationError, "FIELDS_INVALID"),
        ("[", ConfigurationError, "FIELDS_INVALID"),
        ('[{"name": "a"}]', SchemaError, "SCHEMA_FIELD_SOURCE"),
        ('[{"name": "a", "table": "t"}]', SchemaError, "UNKNOWN_TABLE"),
    ],
)
def test_fields_that_make_no_sense_are_refused_and_may_be_mended(fields, kind, code):
    engine = SubscriptionExecutor(EventBusConfig.memory())
    with pytest.raises(kind) as refused:
        engine.start(fields)
    assert refused.value.code == code
    engine.start(json.dumps([topic("alerts")]))
    engine.stop()


def test_nothing_is_served_before_start():
    engine = SubscriptionExecutor(EventBusConfig.memory())
    for use in (
        engine.schema,
        lambda: engine.execute("{ __typename }"),
        lambda: engine.connect(Hub()),
        lambda: engine.publish("alerts", "1"),
        lambda: engine.register("1", ALERTS, principal=Principal()),
    ):
        with pytest.raises(NotStarted) as refused:
            use()
        assert refused.value.code == "NOT_STARTED"
    assert engine.metrics()["sessions"] == 0
    assert engine.take_calls(10) == []


def test_an_engine_starts_once(started):
    engine = started(topic("alerts"))
    for _ in range(2):
        with pytest.raises(ConfigurationError) as refused:
            engine.start()
        assert refused.value.code == "STARTED_BEFORE"
        engine.stop()
        engine.stop()


def test_an_engine_that_was_stopped_does_not_start_any_more():
    engine = SubscriptionExecutor(EventBusConfig.memory())
    engine.stop()
    with pytest.raises(ConfigurationError) as refused:
        engine.start(json.dumps([topic("alerts")]))
    assert refused.value.code == "STARTED_BEFORE"
    with pytest.raises(NotStarted):
        engine.schema()


def test_what_needs_a_database_says_so_on_a_bus_in_memory():
    engine = SubscriptionExecutor(EventBusConfig.memory())
    for use in (engine.migrate, engine.status, lambda: engine.watch("orders"), lambda: engine.unwatch("orders")):
        with pytest.raises(ConfigurationError) as refused:
            use()
        assert refused.value.code == "NO_DATABASE"


def test_describe_tells_the_schema_that_start_then_serves():
    engine = SubscriptionExecutor(EventBusConfig.memory())
    fields = json.dumps([topic("alerts")])
    described = engine.describe(fields)
    with pytest.raises(NotStarted):
        engine.schema()
    engine.start(fields)
    assert engine.schema() == described
    assert "alerts(after: String): AlertsEvent!" in described
    engine.stop()


def test_execute_answers_introspection_and_refuses_what_is_no_query(started):
    engine = started(topic("alerts"))
    answer = json.loads(engine.execute("query Q($n: String!) { __type(name: $n) { name } }", '{"n": "AlertsEvent"}'))
    assert answer == {"data": {"__type": {"name": "AlertsEvent"}}}
    refused = json.loads(engine.execute(ALERTS))
    assert refused["errors"][0]["extensions"]["code"] == "OPERATION_NOT_SUPPORTED"
    unknown = json.loads(engine.execute("{ nope }"))
    assert unknown["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_introspection_can_be_switched_off(started):
    engine = started(topic("alerts"), introspection=False)
    answer = json.loads(engine.execute("{ __schema { queryType { name } } }"))
    assert answer["errors"]


def test_metrics_count_what_was_told_and_how_often_bytes_were_shared(started):
    engine = started(topic("alerts"))
    for number in range(3):
        engine.register(str(number), ALERTS, principal=Principal())
    engine.publish("alerts", "1")
    metrics = engine.metrics()
    assert (metrics["events_total"], metrics["deliveries_total"], metrics["payloads_total"]) == (1, 3, 1)
    assert metrics["subscriptions"] == 3
    assert all(isinstance(value, int) for value in metrics.values())


def test_a_bus_shows_its_kind_and_never_its_url():
    bus = EventBusConfig.postgresql("postgresql://app:secret@db.example/app", slot="s", publication="p")
    assert bus.kind == "postgresql"
    assert EventBusConfig.memory().kind == "memory"
    assert repr(bus) == "<EventBusConfig postgresql>"
    assert "secret" not in f"{bus!r} {bus!s}"


def test_an_unreachable_database_is_told_without_its_password():
    engine = SubscriptionExecutor(EventBusConfig.postgresql("postgresql://app:secret@127.0.0.1:1/app"))
    with pytest.raises(ConnectionFailed) as refused:
        engine.start()
    assert "secret" not in str(refused.value)
    engine.stop()


def test_only_a_principal_subscribes(started):
    engine = started(topic("alerts"))
    with pytest.raises(AttributeError):
        engine.register("1", ALERTS, principal=object())
    engine.register("1", ALERTS, principal=Principal())
