"""`help` explains each verb of the four clients: every parameter, its bounds, its default, and what is raised."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import openmem
from openmem import UNSET, AsyncMemory, Memory
from openmem._generated import models
from openmem._generated.verbs import NEEDS, VALUES_NEED, VERBS
from openmem.client import AsyncUserMemory, UserMemory

CLIENTS = (Memory, AsyncMemory, UserMemory, AsyncUserMemory)


def had(client: type, verb: str) -> bool:
    """Tell whether a client has a verb: a user's view has none of the operator's."""
    return not (VERBS[verb].operator and client in (UserMemory, AsyncUserMemory))


METHODS = [
    pytest.param(client, verb, id=f"{client.__name__}.{verb}")
    for client in CLIENTS
    for verb in VERBS
    if had(client, verb)
]
SPEC: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "spec" / "openapi.yaml").read_text("utf-8"))
CODES = SPEC["components"]["schemas"]["ErrorCode"]["x-codes"]
STATUSES: dict[str, set[str]] = {
    each["x-verb"]: set(each["responses"])
    for path in SPEC["paths"].values()
    for each in path.values()
    if "x-verb" in each
}


def parameters(client: type, verb: str) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(getattr(client, verb)).parameters)
    del found["self"]
    return found


def explained(client: type, verb: str) -> dict[str, str]:
    """Return parameter -> its explanation, which begins a line and goes on in indented ones."""
    text = inspect.getdoc(getattr(client, verb)) or ""
    found = re.findall(r"^(\w+): (.+(?:\n    .+)*)$", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def schema(verb: str, field: str) -> dict[str, Any]:
    """Return what the request model demands of a field, null aside."""
    node = VERBS[verb].request.model_json_schema()["properties"][field]
    return {**next((part for part in node.get("anyOf", ()) if part.get("type") != "null"), {}), **node}


def numbers() -> Iterator[tuple[str, str]]:
    for verb in VERBS:
        for field in VERBS[verb].request.model_fields:
            if schema(verb, field).get("type") in ("integer", "number"):
                yield verb, field


def test_there_are_numbers_to_explain() -> None:
    assert {("search", "limit"), ("context", "token_budget"), ("add", "confidence")} <= set(numbers())


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_every_parameter_is_explained_on_a_line_of_its_own(client: type, verb: str) -> None:
    assert list(explained(client, verb)) == list(parameters(client, verb))
    assert all(words.endswith(".") for words in explained(client, verb).values())


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_the_first_line_is_the_summary(client: type, verb: str) -> None:
    assert (inspect.getdoc(getattr(client, verb)) or "").split("\n\n")[0] == VERBS[verb].summary


@pytest.mark.parametrize(("client", "verb", "field"), [(c, v, f) for c in CLIENTS for v, f in numbers() if had(c, v)])
def test_a_number_names_its_bounds(client: type, verb: str, field: str) -> None:
    demanded = schema(verb, field)
    assert f"{demanded['minimum']:g} to {demanded['maximum']:.10g}" in explained(client, verb)[field]


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_a_default_is_named_and_so_is_what_absence_means(client: type, verb: str) -> None:
    words = explained(client, verb)
    for name, parameter in parameters(client, verb).items():
        if parameter.default is None:
            assert "absent" in words[name], name
        elif parameter.default not in (UNSET, parameter.empty):
            assert f"{parameter.default} by default".lower() in words[name].lower()
            assert parameter.default == schema(verb, name)["default"]


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_what_none_means_is_said(client: type, verb: str) -> None:
    text, given = inspect.getdoc(getattr(client, verb)) or "", parameters(client, verb).values()
    assert ("None clears it" in text) is any(each.default is UNSET for each in given)
    assert ("None is the same as absent" in text) is any(each.default is None for each in given if verb != "update")


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_texts_lists_and_objects_name_their_unit(client: type, verb: str) -> None:
    units = {"maxLength": "characters", "maxItems": "items", "maxProperties": "keys"}
    for name, words in explained(client, verb).items():
        if name == "extensions":
            continue
        for bound, unit in units.items():
            if bound in (found := schema(verb, name)):
                unit = {"vector": "numbers", "filter": "conditions"}.get(name, unit)
                assert unit in words, name
                assert str(found[bound]) in words or name in ("filter", "metadata"), name


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_a_needed_feature_is_named(client: type, verb: str) -> None:
    for name, words in explained(client, verb).items():
        needed = [NEEDS[name]] if name in NEEDS else [*VALUES_NEED.get(name, {}).values()]
        assert [feature for feature in needed if feature not in words] == [], name
        assert ("eeds features." in words) is bool(needed), name


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_the_errors_that_the_spec_declares_are_named(client: type, verb: str) -> None:
    raised = (inspect.getdoc(getattr(client, verb)) or "").partition("\nRaises ")[2]
    for status in {"400", "404", "409", "413", "504"} & STATUSES[verb]:
        for code in [code for code, entry in CODES.items() if str(entry["status"]) == status]:
            assert f"{code.replace('_', '')}error" in raised.lower()
    assert set(re.findall(r"\w+Error", raised)) <= set(openmem.__all__)
    assert ("NotFoundError" in raised) is ("404" in STATUSES[verb])


@pytest.mark.parametrize(("client", "verb"), METHODS)
def test_a_signature_names_types_without_their_modules(client: type, verb: str) -> None:
    method = getattr(client, verb)
    assert re.findall(r"\w+\.\w+", str(inspect.signature(method))) == []
    hints = typing.get_type_hints(method)
    assert hints.keys() == parameters(client, verb).keys() | {"return"}


def test_the_hints_are_the_models() -> None:
    assert typing.get_type_hints(Memory.get)["return"] is models.MemoryRecord
    many = typing.get_type_hints(Memory.search)["return"]
    assert (typing.get_origin(many), typing.get_args(many)) == (list, (models.SearchResult,))
