"""GraphQL over HTTP: what the head of a request decides, and how the body is read."""

import json

import pytest

from rowcast import EventBusConfig, SubscriptionManager
from rowcast._engine import GraphQLRequest
from rowcast.transport import http
from rowcast.transport.connection import Headers
from rowcast.transport.conversation import Rules

GRAPHQL = "application/graphql-response+json"


def request(method="POST", **headers):
    headers.setdefault("content_type", "application/json")
    return http.Request(method, Headers((name.replace("_", "-"), value) for name, value in headers.items()))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (request(), None),
        (request("GET"), None),
        (request("PATCH"), 405),
        (request("DELETE"), None),
        (request("PUT", accept="text/plain"), None),
        (request("PUT", accept="application/json"), 406),
        (request(accept="text/event-stream"), None),
        (request(content_type="text/plain"), 415),
        (request(content_type=""), 415),
        (request(content_type="application/json; charset=latin-1"), 415),
        (request(content_type='Application/JSON; charset="UTF-8"'), None),
        (request(accept="text/html"), 406),
        (request(accept="text/html, */*;q=0.1"), None),
        (request(accept="application/json"), None),
        (request(accept="*/*"), None),
    ],
)
def test_the_head_decides_before_a_body_is_read(given, status):
    refusal = http.refuse_early(given)
    assert (refusal and refusal.status) == status


def test_a_wrong_method_is_told_the_right_ones():
    assert ("allow", "GET, POST, PUT, DELETE") in http.refuse_early(request("PATCH")).headers


def test_refusals_are_graphql_errors():
    assert json.loads(http.NOT_FOUND.body)["errors"][0]["extensions"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        (f"{GRAPHQL}, application/json;q=0.9", GRAPHQL),
        ("application/json", "application/json"),
        ("text/html", None),
        ("text/event-stream", "text/event-stream"),
        ("Text/Event-Stream; charset=utf-8", "text/event-stream"),
        ("text/event-stream, */*;q=0.1", "text/event-stream"),
        ("application/json, text/event-stream", "application/json"),
        ("application/json;q=0.5, text/event-stream;q=0.9", "text/event-stream"),
        ("text/event-stream;q=0, application/json;q=0.1", "application/json"),
        ("text/event-stream;q=0", None),
        ("text/event-stream;q=often", "text/event-stream"),
    ],
)
def test_the_media_type_that_weighs_most_is_taken_and_of_equals_the_first(accept, media_type):
    assert http.media_type_of(request(accept=accept)) == media_type


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "query"),
        (b'{"query": 7}', "query"),
        (b'{"query": "{x}", "variables": []}', "variables"),
        (b'{"query": "{x}", "operationName": 7}', "operationName"),
        (b'{"query": "{x}", "extensions": 7}', "extensions"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_malformed_body_is_the_clients_mistake(body, words):
    refused = http.operation_of(request(), body)
    error = json.loads(refused.body)["errors"][0]
    assert (refused.status, error["extensions"]["code"]) == (400, "BAD_REQUEST")
    assert words in error["message"]


def test_a_well_formed_request_is_read():
    body = b'\xef\xbb\xbf{"query": "{x}", "variables": {"a": 1}, "operationName": null, "other": 1}'
    assert isinstance(http.operation_of(request(), body), GraphQLRequest)
    query = {"query": "{x}", "variables": '{"a": 1}', "operationName": ""}
    assert isinstance(http.operation_of(http.Request("GET", query=query), b""), GraphQLRequest)
    named = http.operation_of(request(), b'{"query": "{x}", "extensions": {"operationId": "1"}}')
    assert named.operation_id == "1"


@pytest.mark.parametrize(
    ("text", "media_type", "status"),
    [
        ('{"data": null}', GRAPHQL, 200),
        ('{"errors": []}', GRAPHQL, 400),
        ('{"errors": []}', "application/json", 200),
    ],
)
def test_only_the_newer_media_type_tells_request_errors_by_status(text, media_type, status):
    assert http._status(text, media_type) == status


def live():
    manager = SubscriptionManager(bus=EventBusConfig.memory())
    manager.subscription(topic="t", public=True)
    return manager


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "{x}", "variables": {"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
        b'{"query": "{x}", "variables": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}",
        b'{"query": "{x}", "variables": {"a": NaN}}',
        b'{"query": "{x}", "variables": {"\\ud800": 1}}',
        b'{"query": "{x\\ud800}"}',
        b'{"query": "{x}", "operationName": "\\ud800"}',
    ],
    ids=["deep", "deep for us", "nan", "surrogate key", "surrogate query", "surrogate name"],
)
async def test_what_the_engines_json_does_not_have_is_the_clients_mistake(body):
    async with live() as manager:
        answered = await http.answer(manager, request(), body, Rules(None, 1.0, debug=False))
    assert (answered.status, json.loads(answered.body)["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")
