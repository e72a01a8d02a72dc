"""What makes a function a resolver: ``(event, variables)`` in, a value or ``None`` out, ``async def`` or ``def``.

Checked once, when it is declared, so that a wrong one fails at import with the fix in the message.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rowcast.declare.annotations import Returns, returns_of
from rowcast.declare.naming import Naming
from rowcast.errors import ConfigurationError

_FORM = "async def {name}(event, variables)"


@dataclass(frozen=True)
class Resolver:
    """A function that makes a field's values.

    Attributes:
        function: As the user wrote it.
        name: Its name.
        where: Module and qualified name, for messages.
        is_async: Whether calling it gives a coroutine; if not, it runs in a thread.
        annotation: Its evaluated return annotation; ``inspect.Signature.empty`` when there is none.
    """

    function: Callable[..., Any]
    name: str
    where: str
    is_async: bool
    annotation: object

    @staticmethod
    def of(function: object) -> Resolver:
        """Check a function.

        Raises:
            ConfigurationError: ``RESOLVER_INVALID`` or ``ANNOTATION_UNSUPPORTED``.
        """
        bare = _bare(function)
        name = getattr(bare, "__name__", type(bare).__name__)
        where = f"{getattr(bare, '__module__', '?')}.{getattr(bare, '__qualname__', name)}"
        if isinstance(function, type) or not callable(function):
            raise _invalid(f"{where} is not a function; decorate `{_FORM.format(name=name)}`")
        _check_kind(bare, where, name)
        _check_parameters(function, where, name)
        resolver = Resolver(function, name, where, _is_async(bare), _return_annotation(bare, where))
        resolver.returns("camel")
        return resolver

    def returns(self, naming: Naming) -> Returns | None:
        """The GraphQL type of the results; ``None`` for the table's row type."""
        return returns_of(self.annotation, naming=naming, where=self.where)


def _bare(function: object) -> object:
    """The function behind `functools.partial`, a bound method, `functools.wraps` or an object with ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    if inspect.ismethod(function):
        return function.__func__
    if callable(function) and not inspect.isroutine(function) and not isinstance(function, type):
        return type(function).__call__
    return function


def _is_async(bare: object) -> bool:
    return inspect.iscoroutinefunction(bare)


def _check_kind(bare: object, where: str, name: str) -> None:
    if inspect.isasyncgenfunction(bare) or inspect.isgeneratorfunction(bare):
        raise _invalid(
            f"{where} is a generator; a resolver is called once for each event and returns one value: "
            f"write `{_FORM.format(name=name)}` with `return` in place of `yield`"
        )


def _check_parameters(function: Callable[..., Any], where: str, name: str) -> None:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise _invalid(f"{where} has no readable signature; wrap it: `{_FORM.format(name=name)}`") from error
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(positional) == len(parameters) == 2:  # noqa: PLR2004 (event and variables)
        return
    shown = ", ".join(str(each) for each in parameters)
    raise _invalid(
        f"{where}({shown}) must take exactly two arguments: write `{_FORM.format(name=name)}`. {_advice(parameters)}"
    )


def _advice(parameters: list[inspect.Parameter]) -> str:
    if any(each.name in ("self", "cls") for each in parameters[:1]):
        return "A method is declared on an instance: manager.subscription(…)(instance.method)"
    if any(each.name in ("context", "ctx", "info", "principal") for each in parameters):
        return "Subscribers with equal variables share results, so a resolver does not receive the principal"
    return "Bind other arguments with functools.partial or a closure"


def _return_annotation(bare: object, where: str) -> object:
    """Only the return annotation is evaluated: parameters may name types that exist for the type checker alone."""
    try:
        annotation = inspect.get_annotations(typing.cast("Callable[..., Any]", bare)).get(
            "return", inspect.Signature.empty
        )
        if annotation is inspect.Signature.empty:
            return annotation
        return _evaluated(annotation, bare)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{where}: the return annotation cannot be evaluated ({error}); "
            "define the type at module level and import it outside `if TYPE_CHECKING`",
            code="ANNOTATION_UNSUPPORTED",
        ) from error


def _evaluated(annotation: object, bare: object) -> object:
    holder = type("_Holder", (), {"__annotations__": {"return": annotation}})
    scope = {**getattr(bare, "__globals__", {}), **_closure(bare)}
    return typing.get_type_hints(holder, globalns=scope, include_extras=True)["return"]


def _closure(bare: object) -> dict[str, Any]:
    """Variables of enclosing functions that the resolver uses; one that has no value yet is left out."""
    names = getattr(getattr(bare, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(bare, "__closure__", None) or (), strict=False):
        with contextlib.suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _invalid(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="RESOLVER_INVALID")
