"""What can go wrong, drawn as the tree that an application catches from.

::

    RowcastError
    ├── ConfigurationError        a setting, a declaration or a signature is wrong; nothing was started
    │   └── PrincipalError        a `Principal` is wrong; the client was refused
    ├── ConnectionFailed          PostgreSQL cannot be reached
    │   └── AuthenticationFailed  PostgreSQL rejects the credentials
    ├── CaptureError              the change stream cannot be read: slot, publication, rights
    ├── MigrationError            a migration failed or the database is newer than this package
    ├── DatabaseError             PostgreSQL refused watch, unwatch, status or uninstall
    ├── SchemaError               no GraphQL schema can be made of tables and resolvers
    ├── PublishError              a message was not published
    ├── RequestRefused            a GraphQL request is invalid or not allowed; `errors` says why
    ├── RateLimited               too many connections at once; `retry_after_s` says how long to wait
    ├── SubscriptionEnded         a subscription is over, or unknown
    ├── NotStarted                the manager is not running
    └── Forbidden                 raised by an `authenticate` hook: the socket closes with 4403
        └── CredentialMissing     the connection_init payload lacks a key that the hook read

Every error has a ``code`` in SCREAMING_SNAKE_CASE that stays the same from release to release, and is the same code
that clients see in ``extensions.code``. Messages say what is wrong, where, and what to do. They never contain row
values or passwords.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class RowcastError(Exception):
    """The root of the tree.

    Args:
        message: What is wrong, where, and what to do about it.
        code: A stable code; each class has its own default.
        hint: How to fix it, when that is longer than the message should be.
    """

    default_code: ClassVar[str] = "ROWCAST_ERROR"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class ConfigurationError(RowcastError):
    """A setting, a declaration or a signature is wrong; nothing was started."""

    default_code = "CONFIGURATION_INVALID"


class PrincipalError(ConfigurationError):
    """A `Principal` is wrong: an identity, a setting's name or value, an expiry that could be misread."""

    default_code = "PRINCIPAL_INVALID"


class ConnectionFailed(RowcastError):
    """PostgreSQL cannot be reached."""

    default_code = "CONNECTION_FAILED"


class AuthenticationFailed(ConnectionFailed):
    """PostgreSQL rejects the user, the password or the certificate."""

    default_code = "AUTHENTICATION_FAILED"


class CaptureError(RowcastError):
    """The change stream cannot be read."""

    default_code = "CAPTURE_FAILED"


class MigrationError(RowcastError):
    """A migration failed, or the database is newer than this package."""

    default_code = "MIGRATION_FAILED"


class DatabaseError(RowcastError):
    """PostgreSQL refused a statement other than a migration: a privilege is missing, a lock timed out."""

    default_code = "DATABASE_REFUSED"


class SchemaError(RowcastError):
    """No GraphQL schema can be made of the declared tables and resolvers."""

    default_code = "SCHEMA_INVALID"


class PublishError(RowcastError):
    """A message was not published."""

    default_code = "PUBLISH_FAILED"


class RequestRefused(RowcastError):
    """A GraphQL request is invalid or not allowed.

    Args:
        message: The first error's message.
        code: The first error's code.
        errors: GraphQL errors, each with ``message``, ``locations`` and ``extensions.code``.
    """

    default_code = "REQUEST_REFUSED"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.errors: list[Mapping[str, Any]] = list(errors)


class RateLimited(RowcastError):
    """One address opened too many connections.

    Args:
        message: Which limit was exceeded.
        retry_after_s: Whole seconds to wait before a retry.
    """

    default_code = "RATE_LIMITED"

    def __init__(
        self, message: str, *, code: str | None = None, hint: str | None = None, retry_after_s: int = 1
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after_s = retry_after_s


class SubscriptionEnded(RowcastError):
    """The subscription failed, was completed, or never was.

    ``code`` says why: ``COMPLETED``, ``SHUTTING_DOWN``, ``SLOW_CONSUMER``, ``TOKEN_EXPIRED`` at the principal's
    ``expires_at``, ``REVOKED`` after `SubscriptionManager.revoke`, …
    """

    default_code = "SUBSCRIPTION_ENDED"


class NotStarted(RowcastError):
    """The manager is not running: use its lifespan, ``async with manager`` or ``await manager.start()``."""

    default_code = "NOT_STARTED"


class Forbidden(RowcastError):
    """Raise it in an ``authenticate`` hook: the socket closes with 4403, and stock clients retry.

    The client receives only ``Forbidden``; ``message`` is for the log.
    """

    default_code = "FORBIDDEN"

    def __init__(self, message: str = "Forbidden", *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, code=code, hint=hint)


class CredentialMissing(Forbidden, KeyError):
    """The connection_init payload lacks a key that the hook read with ``payload[key]``."""

    default_code = "CREDENTIAL_MISSING"
