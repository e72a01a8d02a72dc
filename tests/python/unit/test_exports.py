"""The public names are what the documentation says, and stay so."""

import rowcast
from rowcast import errors


def test_all_names_every_public_member_and_nothing_else():
    public = {name for name in vars(rowcast) if not name.startswith("_")} - _submodules()
    assert sorted({*public, "__version__"}) == rowcast.__all__ == sorted(rowcast.__all__)


def test_the_documented_names_exist():
    documented = "SubscriptionManager subscription Event Principal WebSocketAdapter GraphQLTransportWSHandler "
    documented += "EventBusConfig SubscriptionExecutor RowcastError Connection"
    assert set(documented.split()) <= set(rowcast.__all__)


def test_the_whole_error_tree_is_exported():
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.RowcastError)
    }
    assert tree <= set(rowcast.__all__)


def _submodules():
    return {name for name, value in vars(rowcast).items() if type(value).__name__ == "module"}
