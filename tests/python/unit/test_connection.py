"""What the authenticate hook sees."""

import pytest

from rowcast import Connection, Forbidden
from rowcast.transport.connection import Headers, Payload, parse_cookies


def test_header_names_have_no_case():
    headers = Headers([("X-Token", "a")])
    assert (headers["x-token"], headers["X-TOKEN"], headers.get("x-other"), "X-Token" in headers) == (
        "a",
        "a",
        None,
        True,
    )


def test_repeated_headers_are_joined_as_http_says():
    headers = Headers([("Via", "a"), ("via", "b"), ("Cookie", "a=1"), ("cookie", "b=2")])
    assert dict(headers) == {"via": "a, b", "cookie": "a=1; b=2"}


def test_a_missing_credential_refuses_the_connection():
    with pytest.raises(Forbidden, match="'token'"):
        Payload()["token"]


def test_get_still_gives_a_default():
    assert Payload().get("token", "none") == "none"


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("a=b; c=d", {"a": "b", "c": "d"}),
        ("", {}),
        ("broken; a=b", {"a": "b"}),
        ("a=1; a=2", {"a": "1"}),
        ('a="b c"; d=e=f', {"a": "b c", "d": "e=f"}),
        ("=x;;a=", {"a": ""}),
    ],
)
def test_cookies_are_read_as_browsers_write_them(header, cookies):
    assert parse_cookies(header) == cookies


def test_repr_shows_names_alone():
    connection = Connection(
        Headers([("authorization", "hush")]), {"session": "hush"}, Payload(token="hush"), {"t": "hush"}, None
    )
    assert "hush" not in repr(connection) + repr(connection.headers) + repr(connection.payload)
    assert "authorization" in repr(connection)
