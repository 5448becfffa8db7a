"""What a read selects, as SQL with bound parameters only; selection and filters of openmem.protocol are its meaning."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from openmem.protocol import filters
from openmem.protocol.filters import Condition, Either, Every, Filter, Negation
from openmem.protocol.selection import Selection, pinned

from .jsonb import json_text

COLUMNS = frozenset({"created_at", "valid_from", "valid_to", "superseded_at"})
"""Fields of a record that have a column of their own type."""
SCOPE_PREFIX = 250
"""Characters of a scope that its index holds: an index entry of Postgres has an upper size."""
_SYMBOLS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Bindings(dict[str, Any]):
    """The parameters of one statement, by name."""

    def bind(self, value: Any) -> str:
        """Add a parameter and return its placeholder."""
        name = f"p{len(self)}"
        self[name] = value
        return f"%({name})s"


def selected(request: Selection, now: datetime, values: Bindings) -> str:
    """Write the condition on `memories` that a read request selects by; true or false, never null."""
    moment, past = values.bind(request.as_of or now), request.as_of is not None
    begun = f"coalesce(valid_from, created_at) <= {moment}"
    states = {  # written so that the planner can tell from its statistics that most rows pass
        "superseded": f"(superseded_at IS NULL OR superseded_at > {moment})",
        "expired": f"(valid_to IS NULL OR valid_to > {moment})",
        "upcoming": begun if past else f"(valid_from IS NULL OR valid_from <= {moment})",
        "archived": "NOT archived",
    }
    conditions = [f"user_id = {values.bind(request.user_id)}"]
    conditions += [test for state, test in states.items() if state not in (request.include or ())]
    conditions += _narrowing(request, values)
    return " AND ".join(conditions)


def one_of(column: str, texts: Collection[str], values: Bindings) -> str:
    """Write that a column is one of some texts: of one without a list, which takes a third longer."""
    if len(texts) == 1:
        return f"{column} = {values.bind(next(iter(texts)))}"
    return f"{column} = ANY({values.bind([*texts])})"


def _narrowing(request: Selection, values: Bindings) -> list[str]:
    conditions = []
    if (external_id := pinned(request)) is not None:
        conditions.append(f"external_id = {values.bind(external_id)}")  # which has an index; the filter does not
    if request.scope is not None:
        conditions.append(_in_scope(request.scope, values))
    if request.tag is not None:
        conditions.append(f"coalesce(record -> 'tags' ? {values.bind(request.tag)}, false)")
    if request.session is not None:
        conditions.append(f"coalesce(record ->> 'session' = {values.bind(request.session)}, false)")
    if request.since is not None:
        conditions.append(f"created_at >= {values.bind(request.since)}")
    if request.until is not None:
        conditions.append(f"created_at <= {values.bind(request.until)}")
    if request.filter:
        conditions.append(_compiled(filters.parse(request.filter), values))
    return conditions


def _in_scope(selector: str, values: Bindings) -> str:
    base = selector.removesuffix("/*")
    below, beyond = values.bind(base + "/"), values.bind(base + "0")  # "0" follows "/": all that begins with base/
    test = f"scope >= {below} AND scope < {beyond}"
    if base == selector:
        test = f"(scope = {values.bind(base)} OR {test})"
    prefix = base[:SCOPE_PREFIX]
    first, last = values.bind(prefix), values.bind(prefix + "\U0010ffff")
    return f"left(scope, {SCOPE_PREFIX}) BETWEEN {first} AND {last} AND coalesce({test}, false)"


def _compiled(filter_: Filter, values: Bindings) -> str:
    match filter_:
        case Every(parts):
            return "(" + " AND ".join(["true", *(_compiled(part, values) for part in parts)]) + ")"
        case Either(parts):
            return "(" + " OR ".join(["false", *(_compiled(part, values) for part in parts)]) + ")"
        case Negation(part):
            return f"NOT {_compiled(part, values)}"
        case Condition(path, operator, value):
            return f"coalesce({_condition(path, operator, value, values)}, false)"


def _condition(path: tuple[str, ...], operator: str, value: Any, values: Bindings) -> str:
    if operator in ("ne", "nin"):
        opposite = _condition(path, "eq" if operator == "ne" else "in", value, values)
        return f"NOT coalesce({opposite}, false)"
    if path[0] in filters.DATES:
        return _moment(path[0], operator, value, values)
    # -> leads through objects alone; a null of JSON counts as missing
    field = "nullif(" + " -> ".join(["record", *(f"{values.bind(key)}::text" for key in path)]) + ", 'null')"
    if operator == "exists":
        return f"{field} IS {'NOT ' if value else ''}NULL"
    if operator == "eq":
        return f"{field} = {_json(value, values)}"
    if operator == "in":
        return f"{field} = ANY({values.bind([json_text(each) for each in value])}::text[]::jsonb[])"
    if operator == "contains":
        return _contains(field, value, values)
    if isinstance(value, str):  # jsonb orders texts by the database's collation, the protocol by code points
        test = f"({field} #>> '{{}}') COLLATE \"C\" {_SYMBOLS[operator]} {values.bind(value)}"
        return f"jsonb_typeof({field}) = 'string' AND {test}"
    return f"jsonb_typeof({field}) = 'number' AND {field} {_SYMBOLS[operator]} {_json(value, values)}"


def _moment(name: str, operator: str, value: Any, values: Bindings) -> str:
    field = name if name in COLUMNS else f"(record ->> '{name}')::timestamptz"
    if operator == "exists":
        return f"{field} IS {'NOT ' if value else ''}NULL"
    if operator == "in":
        return f"{field} = ANY({values.bind(list(value))}::timestamptz[])"
    if operator == "contains":
        return "false"
    return f"{field} {_SYMBOLS.get(operator, '=')} {values.bind(value)}"


def _contains(field: str, value: Any, values: Bindings) -> str:
    test = f"jsonb_typeof({field}) = 'array' AND {field} @> jsonb_build_array({_json(value, values)})"
    if isinstance(value, str):
        text = f"strpos(({field} #>> '{{}}') COLLATE \"C\", {values.bind(value)}) > 0"
        test = f"({test} OR jsonb_typeof({field}) = 'string' AND {text})"
    return test


def _json(value: str | float | bool, values: Bindings) -> str:
    return f"{values.bind(json_text(value))}::jsonb"
