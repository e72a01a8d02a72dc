"""The subprotocol is chosen as stock clients need it, and close reasons fit their frame."""

import pytest

from rowcast.transport.adapter import close_reason, pick_subprotocol


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["graphql-transport-ws"], "graphql-transport-ws"),
        (["graphql-ws", "graphql-transport-ws"], "graphql-transport-ws"),
        (["graphql-ws, graphql-transport-ws"], "graphql-transport-ws"),
        (["graphql-ws"], None),
        (["Graphql-Transport-WS"], None),
        ([""], None),
        ([], None),
    ],
)
def test_only_graphql_transport_ws_is_chosen(offered, chosen):
    assert pick_subprotocol(offered) == chosen


@pytest.mark.parametrize("text", ["short", "x" * 123, "x" * 200, "ä" * 100, "🚣" * 40, "x🚣" * 40, "\ud800"])
def test_a_close_reason_fits_and_is_not_cut_inside_a_character(text):
    reason = close_reason(text)
    assert len(reason.encode()) <= 123
    assert reason == text[: len(reason)] or text == "\ud800"
