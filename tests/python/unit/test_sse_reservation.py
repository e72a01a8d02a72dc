"""Only the caller that reserved a single-connection stream may use its token, with the same rights."""

import pytest

from rowcast import Principal
from rowcast.transport.sse.reservation import is_same

RESERVED = {
    "tenant_id": "acme",
    "role": "app",
    "settings": {"app.user": "1"},
    "claims": {"sub": "1", "exp": 1, "iat": 1, "jti": "a"},
    "scopes": ["read", "write"],
    "services": ["orders"],
    "expires_at": 1,
}


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "1"},
        {"tenant_id": "globex"},
        {"role": "admin"},
        {"settings": {"app.user": "2"}},
        {"claims": {"sub": "2"}},
        {"scopes": ["read"]},
        {"services": []},
    ],
)
def test_a_caller_with_other_rights_is_another(changed):
    assert not is_same(Principal(**(RESERVED | changed)), Principal(**RESERVED))


def test_a_renewed_token_is_of_the_same_caller():
    renewed = RESERVED | {
        "claims": {"sub": "1", "exp": 2, "iat": 2, "jti": "b"},
        "scopes": ["write", "read"],
        "expires_at": 2,
    }
    assert is_same(Principal(**renewed), Principal(**RESERVED))
