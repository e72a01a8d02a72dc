"""``rowcast explain``: whether a principal receives a row, and why. Formats the engine's JSON as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rowcast._engine import SubscriptionExecutor
from rowcast.cli.answer import Answer
from rowcast.cli.database import database_of
from rowcast.errors import ConfigurationError, PrincipalError
from rowcast.principal import Principal

Told = dict[str, Any]


def explain(options: argparse.Namespace) -> Answer:
    """Ask the engine; not ``ok`` if the principal is refused or does not receive the row."""
    principal = _principal(_text(options.principal, "--as"))
    row, old = _text(options.row, "--row"), _text(options.old, "--old")
    settings = {} if options.service is None else {"service": options.service}
    engine = SubscriptionExecutor(database_of(options), settings=json.dumps(settings))
    operation = options.operation and options.operation.upper()
    answer = engine.explain(options.table, principal, row=row, old=old, operation=operation, field=_field(options))
    told: Told = json.loads(answer)
    ok = told["admitted"] and (told["row"] is None or told["row"]["told"] is not None)
    return Answer("\n".join(_lines(told)), told, ok=ok)


def _field(options: argparse.Namespace) -> str:
    declared = {"scopes": options.scopes, "service": options.field_service}
    return json.dumps({name: value for name, value in declared.items() if value is not None})


def _text(argument: str | None, name: str) -> str | None:
    if argument is None or not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise ConfigurationError(f"{name}: {argument[1:]} cannot be read: {reason}", code="FILE_UNREADABLE") from error


def _principal(text: str | None) -> Principal:
    try:
        given = json.loads(text or "")
    except ValueError as error:
        raise PrincipalError(f"--as is not valid JSON: {error}", code="PRINCIPAL_NOT_JSON") from error
    if not isinstance(given, dict):
        raise PrincipalError('--as must be a JSON object such as {"role": "app_user"}', code="PRINCIPAL_NOT_JSON")
    unknown = sorted(given.keys() - Principal.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(Principal.__dataclass_fields__)
        raise PrincipalError(f"--as: a principal has no {', '.join(unknown)}; it has {known}")
    return Principal(**given)


def _lines(told: Told) -> Iterator[str]:
    yield f"{told['table']}: {'a subscription is admitted' if told['admitted'] else 'a subscription is REFUSED'}"
    for problem in told["problems"]:
        yield f"  note        {problem['hint']} [{problem['code']}]"
    for module in told["modules"]:
        code = f" [{module['code']}]" if module["code"] else ""
        yield f"  {'ok' if module['admitted'] else 'NO'}  {module['module']:<11} {module['says']}{code}"
    yield from _policies(told["row_policy"])
    yield from _reach(told)
    if told["row"] is not None:
        yield ""
        yield from _row(told["row"])


def _policies(rule: Told) -> Iterator[str]:
    if not rule["policies"] and not rule["enabled"]:
        return
    state = "on, and forced" if rule["enabled"] and rule["forced"] else "on" if rule["enabled"] else "off"
    yield ""
    yield f"policies (row-level security is {state}):"
    if not rule["policies"]:
        yield "  none, so no row is visible"
    name_width = max((len(policy["name"]) for policy in rule["policies"]), default=0)
    for policy in rule["policies"]:
        yield from _policy(policy, name_width)
    if rule["question"] is not None:
        yield f"delegated to PostgreSQL as {rule['question']['role']}: {rule['question']['condition']}"


def _policy(policy: Told, name_width: int) -> Iterator[str]:
    kind = "permissive" if policy["permissive"] else "restrictive"
    head = f"  {policy['name']:<{name_width}}  {kind:<11}  "
    if policy["why_not"] is not None:
        yield f"{head}does not apply: {policy['why_not']}"
        return
    yield f"{head}{policy['evaluation']:<9}  {policy['using'] if policy['predicate'] is None else policy['predicate']}"
    if "…" in (policy["predicate"] or ""):
        yield f"  {'':<{name_width}}  using {policy['using']}"
    for reason in policy["reasons"]:
        yield f"  {'':<{name_width}}  delegated {reason['part']}  (because of {reason['why']})"
    if policy["refusal"] is not None:
        yield f"  {'':<{name_width}}  {policy['refusal']['message']} [{policy['refusal']['code']}]"


_INDEX = {
    "equality": "found by equality",
    "range": "found by a range",
    "always": "matches every change",
    "residual": "not indexed: evaluated for every change of the table",
    "never": "no row can match",
}


def _reach(told: Told) -> Iterator[str]:
    columns, condition = told["columns"], told["condition"]
    yield ""
    hidden = f"   hidden: {_list(columns['hidden'])}" if columns["hidden"] else ""
    yield f"columns:   {_list(columns['readable'])}{hidden}"
    if condition is not None:
        delegated = ", then delegated to PostgreSQL" if condition["delegated"] else ""
        yield f"condition: {condition['sql']}"
        yield f"index:     {_INDEX[condition['index']]}{delegated}"


def _row(row: Told) -> Iterator[str]:
    yield row["operation"]
    for note in row["notes"]:
        yield f"  note  {note}"
    for name in ("old", "new"):
        if row[name] is not None:
            yield from _image(name, row[name])
    if row["told"] is None:
        yield f"  not delivered: {row['why_not']}"
        return
    if row["left"] is not None:
        yield f"  LEAVE: delivers the key only: {_list(row['left']['columns'])}"
        yield f"  {json.dumps(row['left']['payload'], ensure_ascii=False)}"
    told = row["told"]
    what = "the row" if told["what"] == "row" else "the key only"
    yield f"  {row['transition']}: delivers {what}: {_list(told['columns'])}"
    if told["changed"]:
        yield f"  changed: {_list(told['changed'])}"
    yield f"  {json.dumps(told['payload'], ensure_ascii=False)}"


def _image(name: str, image: Told) -> Iterator[str]:
    modules = [f"{module} {image[module]}" for module in ("tenant", "row_policy") if image[module] is not None]
    yield f"  {name} row  {'in view    ' if image['in_view'] else 'NOT in view'}  {', '.join(modules)}"
    if image["delegated"] is not None:
        verdict = image["delegated"]
        state = f" (SQLSTATE {verdict['sqlstate']})" if verdict["sqlstate"] else ""
        says = f": {verdict['says']}" if verdict["says"] else ""
        yield f"           PostgreSQL: {verdict['answer']}{state}{says}"
    if image["absent"]:
        yield f"           not given, so treated as not in the stream (which is not NULL): {_list(image['absent'])}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
