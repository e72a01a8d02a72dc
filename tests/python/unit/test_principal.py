"""A principal is checked when it is created, and never shows a credential."""

from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from rowcast import ConfigurationError, Principal, PrincipalError

USER = UUID("12345678-1234-5678-1234-567812345678")


def test_an_anonymous_principal_has_nothing():
    anonymous = Principal()
    assert (anonymous.user_id, anonymous.tenant_id, anonymous.role, anonymous.expires_at) == (None, None, None, None)
    assert (anonymous.settings, anonymous.claims, anonymous.scopes, anonymous.services) == ({}, {}, (), ())


@pytest.mark.parametrize(("given", "text"), [("u1", "u1"), (7, "7"), (USER, str(USER)), (None, None)])
def test_identities_become_text(given, text):
    principal = Principal(user_id=given, tenant_id=given)
    assert (principal.user_id, principal.tenant_id) == (text, text)


@pytest.mark.parametrize("wrong", ["", True, 1.5, b"u", "a\0b", ["u"]])
def test_a_wrong_identity_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="tenant_id"):
        Principal(tenant_id=wrong)


def test_settings_become_text():
    settings = {"app.tenant_id": 7, "app.user": USER, "app.admin": True, "app.name": "x"}
    expected = {"app.tenant_id": "7", "app.user": str(USER), "app.admin": "true", "app.name": "x"}
    assert Principal(settings=settings).settings == expected


@pytest.mark.parametrize("wrong", [{"a": None}, {"a": 1.5}, {1: "a"}, {"": "a"}, {"a": "\0"}, [("a", "b")]])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Principal(settings=wrong)


@pytest.mark.parametrize("name", ["role", "search_path", "row_security", "session_authorization", "is_superuser"])
def test_a_setting_that_decides_who_may_do_what_cannot_be_a_principals(name):
    with pytest.raises(PrincipalError, match="no dot") as refused:
        Principal(settings={name: "postgres"})
    assert refused.value.code == "PRINCIPAL_INVALID"


@pytest.mark.parametrize("name", [".", "a.", ".a", "a..b", "1a.b", "a.1", "a.b c", "a.b;", "a.b'", "a.b\n"])
def test_a_setting_that_postgresql_would_refuse_is_refused_here(name):
    with pytest.raises(PrincipalError, match="identifiers"):
        Principal(settings={name: "x"})


def test_repr_shows_no_value_of_settings_or_claims():
    shown = repr(Principal("u", settings={"app.secret": "hush"}, claims={"token": "hush"}))
    assert "hush" not in shown
    assert "app.secret" in shown
    assert "token" in shown


def test_a_scope_text_is_refused_with_the_fix():
    with pytest.raises(ConfigurationError, match=r"split\(\)"):
        Principal(scopes="read write")


def test_scopes_and_services_are_kept_in_order():
    principal = Principal(scopes=["b", "a"], services=("x",))
    assert (principal.scopes, principal.services) == (("b", "a"), ("x",))


@pytest.mark.parametrize("wrong", [["a", ""], ["a", 1], 7, None])
def test_wrong_scopes_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Principal(scopes=wrong)


def test_expiry_is_told_in_microseconds():
    moment = datetime(2026, 11, 23, 16, 0, 0, 250, tzinfo=timezone(timedelta(hours=2)))
    assert Principal(expires_at=moment).expires_at_us == 1795442400000250
    assert Principal(expires_at=1795442400).expires_at_us == 1795442400000000
    assert Principal(expires_at=1795442400.5).expires_at_us == 1795442400500000
    assert Principal().expires_at_us is None


@pytest.mark.parametrize("wrong", [datetime(2026, 1, 1), 1795442400000, -1, True, "soon", float("nan")])  # noqa: DTZ001
def test_an_expiry_that_could_be_misread_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="expires_at"):
        Principal(expires_at=wrong)


def test_a_principal_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Principal("u").user_id = "v"


def test_a_changed_copy_is_checked_again():
    assert replace(Principal("u", scopes=["a"]), tenant_id=3) == Principal("u", "3", scopes=["a"])


def test_later_changes_of_the_arguments_change_nothing():
    claims = {"sub": "u"}
    principal = Principal(claims=claims)
    claims["sub"] = "v"
    assert principal.claims == {"sub": "u"}
