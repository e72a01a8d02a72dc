"""Errors: one tree, stable codes, and a constructor that the native side can call for all of them."""

import pytest

from rowcast import errors
from rowcast.errors import CredentialMissing, Forbidden, RequestRefused, RowcastError

TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RowcastError)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_is_made_of_a_message_and_a_code(kind):
    error = kind("what was wrong", code="SOME_CODE")
    assert (error.message, error.code, str(error)) == ("what was wrong", "SOME_CODE", "what was wrong")


@pytest.mark.parametrize("kind", TREE)
def test_every_class_has_a_code_of_its_own(kind):
    assert kind("x").code.isupper()
    assert sum(other.default_code == kind.default_code for other in TREE) == 1


def test_the_drawn_tree_is_the_real_one():
    drawn = {line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}
    assert drawn | {"RowcastError"} == {kind.__name__ for kind in TREE}


def test_a_hint_is_part_of_the_text():
    assert str(RowcastError("no slot", hint="create one")) == "no slot (create one)"


def test_a_refused_request_carries_its_graphql_errors():
    assert RequestRefused("no", code="X", errors=[{"message": "no"}]).errors == [{"message": "no"}]


def test_forbidden_needs_no_words():
    assert str(Forbidden()) == "Forbidden"


def test_a_missing_credential_is_both_a_refusal_and_a_key_error():
    error = CredentialMissing("the payload has no 'token'")
    assert isinstance(error, Forbidden)
    assert isinstance(error, KeyError)
    assert str(error) == "the payload has no 'token'"
