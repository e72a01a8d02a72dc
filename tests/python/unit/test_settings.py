"""Settings are checked once and passed to the engine as JSON."""

import json

import pytest

from rowcast import ConfigurationError, EventBusConfig, RequestLimits, SubscriptionExecutor
from rowcast.settings import Settings
from rowcast.source import CAPTURE_VARIABLE, SLOT_VARIABLE, Source


def test_unset_bounds_are_left_to_the_engine():
    told = json.loads(Settings().as_json())
    assert "queue_bytes_max" not in told
    assert (told["init_wait_s"], told["ping_interval_s"], told["operations_max"]) == (3.0, 12.0, 100)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("naming", "snake"),
        ("slow_client", "drop"),
        ("capture", "triggers"),
        ("queue_bytes_max", 0),
        ("queue_bytes_max", 1.5),
        ("operations_max", True),
        ("message_bytes_max", -1),
        ("resolver_concurrency", 0),
        ("queue_age_max_s", 0),
        ("init_wait_s", -1),
        ("ping_interval_s", 86_401),
        ("pong_timeout_s", "12"),
        ("resolver_timeout_s", float("nan")),
        ("introspection", 1),
        ("public_introspection", "yes"),
        ("serve_watched", 1),
        ("debug", None),
        ("slot", "Row-cast"),
        ("slot", ""),
        ("slot", "x" * 64),
        ("publication", ""),
        ("publication", "ä" * 32),
        ("service", ""),
        ("protected_variables", ["tenantId"]),
        ("protected_variables", {"tenantId": "role"}),
        ("limits", 7),
        ("limits", {"message": None}),
        ("limits", {"messages": 7}),
        ("limits", {"messages": {"per_s": 1}}),
        ("limits", {"messages": {"per_s": 0, "burst": 1}}),
        ("limits", {"messages": {"per_s": 1, "burst": True}}),
        ("policy_sessions", 1),
        ("policy_sessions", 65),
        ("policy_sessions", 2.0),
        ("policy_timeout_s", 0),
        ("policy_backlog_bytes_max", True),
        ("held_bytes_max", 0),
        ("request_limits", {"depth_max": 3}),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name, wrong):
    with pytest.raises(ConfigurationError, match=name) as caught:
        Settings(**{name: wrong})
    assert caught.value.code == "SETTING_INVALID"


def test_the_engine_is_told_nothing_that_it_does_not_know():
    known = {
        "naming",
        "introspection",
        "auto_migrate",
        "serve_watched",
        "queue_bytes_max",
        "queue_age_max_s",
        "init_wait_s",
    }
    known |= {"held_bytes_max", "request", "filter", "slow_client"}
    known |= {"ping_interval_s", "pong_timeout_s", "operations_max", "message_bytes_max", "resolver_backlog_bytes_max"}
    bounds = {
        "queue_bytes_max": 1,
        "queue_age_max_s": 1,
        "message_bytes_max": 1,
        "held_bytes_max": 1,
        "resolver_backlog_bytes_max": 1,
    }
    bounds |= {"service": "orders", "protected_variables": {}, "limits": {"connects": None}}
    known |= {"service", "protected_variables", "limits"}
    bounds |= {"policy_sessions": 2, "policy_timeout_s": 0.5, "policy_backlog_bytes_max": 1}
    known |= {"policy_sessions", "policy_timeout_s", "policy_backlog_bytes_max"}
    assert set(json.loads(Settings(**bounds).as_json())) == known


def test_every_bound_of_a_request_reaches_the_engine():
    told = json.loads(Settings(request_limits=RequestLimits(depth_max=7, filter_members_max=9)).as_json())
    assert told["request"] == {
        "query_bytes_max": 65_536,
        "tokens_max": 10_000,
        "depth_max": 7,
        "fields_max": 2_000,
        "introspection_lists_max": 32,
        "values_bytes_max": 524_288,
    }
    assert told["filter"] == {"depth_max": 16, "conditions_max": 256, "members_max": 9}


@pytest.mark.parametrize(
    "wrong", [{"depth_max": 65}, {"filter_depth_max": 65}, {"tokens_max": 0}, {"fields_max": True}]
)
def test_a_wrong_bound_of_a_request_is_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=name) as caught:
        RequestLimits(**wrong)
    assert caught.value.code == "SETTING_INVALID"


def test_the_engine_takes_every_setting_that_it_is_told():
    settings = Settings(policy_sessions=64, policy_timeout_s=0.5, policy_backlog_bytes_max=1, service="orders")
    SubscriptionExecutor(EventBusConfig.memory(), settings=settings.as_json())


def test_how_changes_are_captured_is_said_by_name_in_the_environment_or_left_to_the_database(monkeypatch):
    with pytest.raises(ValueError, match='"auto", "wal" or "outbox"'):
        EventBusConfig.postgresql("postgresql://nobody@127.0.0.1:1/none", capture="triggers")
    source = Source("postgresql://nobody@127.0.0.1:1/none", None, slot="s", publication="p")
    monkeypatch.setenv(CAPTURE_VARIABLE, "triggers")
    with pytest.raises(ConfigurationError, match=CAPTURE_VARIABLE) as caught:
        source.open()
    assert caught.value.code == "SETTING_INVALID"
    monkeypatch.setenv(CAPTURE_VARIABLE, "outbox")
    assert source.open().kind == "postgresql"


def test_the_slot_may_be_named_in_the_environment_and_a_name_that_postgresql_refuses_is_refused(monkeypatch):
    source = Source("postgresql://nobody@127.0.0.1:1/none", None, slot=None, publication="p")
    monkeypatch.setenv(SLOT_VARIABLE, "Not-A-Slot")
    with pytest.raises(ConfigurationError, match=SLOT_VARIABLE) as caught:
        source.open()
    assert caught.value.code == "SETTING_INVALID"
    monkeypatch.setenv(SLOT_VARIABLE, "feed")
    assert source.open().kind == "postgresql"
