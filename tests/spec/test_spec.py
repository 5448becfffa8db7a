"""spec/openapi.yaml is valid, holds OMP 0.1 whole, bounds what it takes, and is what the code was generated from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

from openmem import errors
from openmem._generated import bounds, models
from openmem._generated.verbs import ERROR_CODES, NEEDS, OMP_VERSION, VALUES_NEED, VERBS

ROOT = Path(__file__).parents[2]
SPEC: dict[str, Any] = yaml.safe_load((ROOT / "spec" / "openapi.yaml").read_text("utf-8"))
SCHEMAS = SPEC["components"]["schemas"]

ROUTES_01 = {
    "get /capabilities": set(),
    "get /healthz": set(),
    "post /memories": {"content", "user_id", "scope", "tags", "source", "confidence", "valid_from", "valid_to"}
    | {"supersedes"},
    "get /memories": {"user_id", "scope", "tag", "since", "until", "limit", "cursor"},
    "get /memories/{id}": {"id"},
    "patch /memories/{id}": {"id", "content", "scope", "tags", "confidence", "valid_to", "supersedes"},
    "delete /memories/{id}": {"id"},
    "get /memories/search": {"q", "user_id", "scope", "limit", "min_score"},
    "post /context": {"query", "user_id", "scope", "token_budget"},
    "get /audit": {"user_id", "app", "since", "limit"},
}
"""Each route of OMP 0.1 and the names it takes on the wire."""

FIELDS_01 = {
    "MemoryRecord": "id content user_id created_at scope tags source confidence valid_from valid_to supersedes "
    "embedding_model updated_at status",
    "MemorySource": "app type ref",
    "MemoryPage": "items next_cursor",
    "SearchResult": "memory score",
    "SearchResponse": "results",
    "ContextBlock": "text citations token_count",
    "Citation": "memory_id score",
    "Capabilities": "omp_version provider verbs features limits",
    "CapabilityFeatures": "vector_search keyword_search graph_queries temporal scopes max_content_length supports_e2e "
    "supports_audit supports_supersession",
    "CapabilityLimits": "rate_limit_per_minute max_search_results",
    "AuditEntry": "timestamp app action memory_id scope request_id",
    "AuditResponse": "entries",
    "ErrorDetail": "code message type provider request_id",
    "ErrorResponse": "error",
}
REQUIRED_01 = {
    "MemoryRecord": {"id", "content", "user_id", "created_at"},
    "MemoryInput": {"content", "user_id"},
    "MemoryUpdate": set(),
    "MemoryPage": {"items"},
    "SearchResult": {"memory", "score"},
    "ContextBlock": {"text", "citations"},
    "Capabilities": {"omp_version", "provider", "verbs", "features"},
    "ErrorDetail": {"code", "message", "type"},
}
ENUMS_01 = {
    ("MemorySource", "type"): ["extracted", "explicit", "imported"],
    ("MemoryRecord", "status"): ["queued", "indexing", "done", "failed"],
    ("CapabilityFeatures", "scopes"): ["native", "tags", "none"],
}
CODES = {
    "unauthorized": (401, "auth"),
    "scope_denied": (403, "auth"),
    "not_found": (404, "not_found"),
    "invalid_request": (400, "invalid"),
    "rate_limited": (429, "rate_limited"),
    "unsupported_capability": (400, "invalid"),
    "provider_error": (502, "provider_error"),
    "payload_too_large": (413, "invalid"),
    "ingestion_timeout": (504, "provider_error"),
    "provider_unavailable": (503, "provider_error"),
    "internal_error": (500, "provider_error"),
    "conflict": (409, "conflict"),
}
"""OMP 0.1's table, unsupported_capability settled as 400, and the conflict of 0.2."""


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    schema = resolved(schema)
    found = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        found |= properties(part)
    return found


def required(schema: dict[str, Any]) -> set[str]:
    schema = resolved(schema)
    return set(schema.get("required", ())).union(*(required(part) for part in schema.get("allOf", ())))


def operations() -> dict[str, dict[str, Any]]:
    """Return 'method /path' -> operation, the parameters of its path included."""
    found = {}
    for path, item in SPEC["paths"].items():
        for method in [name for name in ("get", "post", "put", "patch", "delete") if name in item]:
            shared = item.get("parameters", [])
            found[f"{method} {path}"] = {**item[method], "parameters": shared + item[method].get("parameters", [])}
    return found


OPERATIONS = operations()


def body(operation: dict[str, Any]) -> dict[str, Any]:
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})


def taken(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what an operation takes: name on the wire -> schema."""
    found = {}
    for parameter in map(resolved, operation["parameters"]):
        found[parameter["name"]] = parameter.get("schema") or parameter["content"]["application/json"]["schema"]
    return found | properties(body(operation))


def test_the_spec_is_valid_openapi_3_1() -> None:
    assert SPEC["openapi"].startswith("3.1")
    validate(SPEC)


@pytest.mark.parametrize("route", ROUTES_01)
def test_every_route_of_0_1_takes_what_0_1_sends(route: str) -> None:
    assert taken(OPERATIONS[route]).keys() >= ROUTES_01[route]


@pytest.mark.parametrize("schema", FIELDS_01)
def test_every_field_of_0_1_is_there(schema: str) -> None:
    assert properties(SCHEMAS[schema]).keys() >= set(FIELDS_01[schema].split())


@pytest.mark.parametrize("schema", REQUIRED_01)
def test_nothing_more_is_required_than_in_0_1(schema: str) -> None:
    assert required(SCHEMAS[schema]) == REQUIRED_01[schema]


@pytest.mark.parametrize(("schema", "field"), ENUMS_01)
def test_closed_sets_of_0_1(schema: str, field: str) -> None:
    node = resolved(properties(SCHEMAS[schema])[field])
    node = next((part for part in node.get("anyOf", ()) if "enum" in part), node)
    assert node["enum"] == ENUMS_01[schema, field]


def test_responses_are_open_to_fields_of_later_versions() -> None:
    closed = [name for name in FIELDS_01 if not resolved(SCHEMAS[name]).get("additionalProperties")]
    assert closed == []


def test_every_verb_of_0_1_is_core_and_there() -> None:
    core = {operation.get("x-verb") for operation in OPERATIONS.values() if "core" in operation["tags"]}
    verbs_01 = {"add", "search", "get", "update", "delete", "list", "context", "audit", "capabilities"}
    assert core == verbs_01
    assert verbs_01 < VERBS.keys() == set(SCHEMAS["Verb"]["enum"])


def test_the_verb_table_names_every_route_of_the_spec() -> None:
    table = {f"{route.method.lower()} {route.path}" for verb in VERBS.values() for route in verb.routes}
    assert table == OPERATIONS.keys()
    assert SPEC["info"]["version"].startswith(OMP_VERSION + ".")


def test_the_request_models_take_what_the_routes_take() -> None:
    renamed = {"q": "query", "X-User-Id": "user_id"}
    for verb in VERBS.values():
        names = set()
        for route in verb.routes:
            names |= {renamed.get(name, name) for name in taken(OPERATIONS[f"{route.method.lower()} {route.path}"])}
        assert verb.request.model_fields.keys() == names, verb.name


def test_error_codes_types_and_statuses() -> None:
    assert ERROR_CODES == CODES
    assert set(SCHEMAS["ErrorCode"]["enum"]) == CODES.keys()


def test_one_class_for_each_error_code() -> None:
    assert errors.BY_CODE.keys() == CODES.keys()
    assert len(set(errors.BY_CODE.values())) == len(CODES)
    for code, cls in errors.BY_CODE.items():
        error = cls("It failed.")
        assert (error.code, error.status, error.type) == (code, *CODES[code])
        assert error.remedy
        assert str(error).endswith(error.remedy)


@pytest.mark.parametrize("code", CODES)
def test_an_error_survives_the_wire(code: str) -> None:
    sent = errors.BY_CODE[code]("It failed.", remedy="Do this.", provider="p", request_id="r")
    received = errors.from_detail(errors.ErrorResponse.model_validate(sent.envelope()).error, retry_after=2)
    assert type(received) is type(sent)
    assert (str(received), received.provider, received.request_id) == (str(sent), "p", "r")
    assert received.retry_after == 2


def test_an_unknown_error_code_is_a_provider_error() -> None:
    detail = errors.ErrorDetail(code="teapot", message="Short and stout.", type="tea")
    assert type(errors.from_detail(detail)) is errors.ProviderError


@pytest.mark.parametrize("route", OPERATIONS)
def test_every_operation_declares_its_errors(route: str) -> None:
    operation = OPERATIONS[route]
    declared = {status: resolved(response) for status, response in operation["responses"].items()}
    failures = {status: response for status, response in declared.items() if not status.startswith("2")}
    for response in failures.values():
        schema = response["content"]["application/json"]["schema"]
        assert schema["$ref"] == "#/components/schemas/ErrorResponse"
    wanted = {"default"}
    if operation.get("security") != [{}]:
        wanted |= {"400", "401", "403", "429"}
    if "{id}" in route:
        wanted.add("404")
    assert failures.keys() >= wanted


def unbounded(schema: dict[str, Any], where: str) -> Iterator[str]:
    """Name the strings, arrays and integers in a request schema that have no limit."""
    schema = resolved(schema)
    for part in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from unbounded(part, where)
    for name, part in schema.get("properties", {}).items():
        yield from unbounded(part, f"{where}.{name}")
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds and not ({"maxLength", "enum", "format"} & schema.keys()):
        yield f"{where} has no maxLength"
    if "array" in kinds:
        if "maxItems" not in schema:
            yield f"{where} has no maxItems"
        yield from unbounded(schema["items"], f"{where}[]")
    if {"integer", "number"} & set(kinds) and not {"minimum", "maximum"} <= schema.keys() and where != "vector[]":
        yield f"{where} has not both bounds"
    if "object" in kinds and not ({"properties", "maxProperties"} & schema.keys()):
        yield f"{where} has no maxProperties"


@pytest.mark.parametrize("route", OPERATIONS)
def test_what_an_operation_takes_is_bounded(route: str) -> None:
    loose = [fault for name, schema in taken(OPERATIONS[route]).items() for fault in unbounded(schema, name)]
    assert loose == []


def test_the_bounds_are_noticed_where_they_lack() -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {}}}}
    assert list(unbounded(loose, "x")) == ["x.a has no maxLength", "x.b has no maxItems"]


def test_the_bounds_that_no_model_holds_are_the_specs() -> None:
    metadata, filter_ = SCHEMAS["Metadata"], SCHEMAS["Filter"]
    assert metadata["maxProperties"] == bounds.MAX_METADATA_PROPERTIES
    assert metadata["x-maxBytes"] == bounds.MAX_METADATA_BYTES
    assert metadata["x-maxDepth"] == bounds.MAX_METADATA_DEPTH
    assert filter_["x-maxConditions"] == bounds.MAX_FILTER_CONDITIONS
    assert filter_["x-maxBytes"] == bounds.MAX_FILTER_BYTES
    assert filter_["x-maxDepth"] == bounds.MAX_FILTER_DEPTH
    assert SCHEMAS["Supersedes"]["maxItems"] == bounds.MAX_SUPERSEDES_ITEMS


def test_every_operation_of_a_safe_verb_is_marked_and_every_get_is_safe() -> None:
    for route, operation in OPERATIONS.items():
        if verb := operation.get("x-verb"):
            assert operation.get("x-safe", False) is VERBS[verb].safe, route
            assert VERBS[verb].safe or not route.startswith("get "), route


def test_what_a_request_needs_is_a_feature() -> None:
    features = models.CapabilityFeatures.model_fields.keys()
    needed = {*NEEDS.values(), *(feature for each in VALUES_NEED.values() for feature in each.values())}
    assert needed | {verb.needs for verb in VERBS.values() if verb.needs} <= features
    assert {"scopes", "temporal", "supports_metadata", "vector_search"} <= needed
    assert VERBS["audit"].needs == "supports_audit"


def test_a_need_that_is_marked_in_one_verb_only_is_refused(copy: Path) -> None:
    spec = copy / "spec" / "openapi.yaml"
    before = spec.read_text("utf-8")
    spec.write_text(before.replace('ScopePath", x-needs: scopes, ', 'ScopePath", ', 1), "utf-8")
    result = check(copy)
    spec.write_text(before, "utf-8")
    assert result.returncode == 1
    assert "scope of " in result.stderr
    assert "check x-needs" in result.stderr


@pytest.mark.parametrize("route", OPERATIONS)
def test_limits_have_both_bounds(route: str) -> None:
    for name in {"limit", "token_budget"} & taken(OPERATIONS[route]).keys():
        assert {"minimum", "maximum", "default"} <= taken(OPERATIONS[route])[name].keys()


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for item in node:
            yield from nodes(item)


def test_nullability_is_that_of_3_1() -> None:
    everywhere = list(nodes(SPEC))
    assert len(everywhere) > 500
    assert [node for node in everywhere if "nullable" in node] == []


def test_no_operation_id_is_used_twice() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)


# --- drift ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    shutil.copytree(ROOT / "spec", folder / "spec")
    shutil.copytree(ROOT / "openmem" / "_generated", folder / "openmem" / "_generated")
    return folder


def check(folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, folder / "spec" / "generate.py", "--check"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def test_the_generated_code_is_what_the_spec_gives() -> None:
    result = check(ROOT)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout + result.stderr


def test_drift_is_reported_file_by_file_and_mended(copy: Path) -> None:
    generated = copy / "openmem" / "_generated"
    (generated / "models.py").write_text((generated / "models.py").read_text("utf-8") + "\n", "utf-8")
    (generated / "stray.py").write_text("", "utf-8")
    (generated / "verbs.py").unlink()
    result = check(copy)
    assert result.returncode == 1
    named = {line.split()[0].rpartition("/")[2] for line in result.stdout.splitlines()}
    assert named == {"models.py", "stray.py", "verbs.py"}
    subprocess.run([sys.executable, copy / "spec" / "generate.py"], check=True, timeout=300)
    assert check(copy).returncode == 0
    assert not (generated / "stray.py").exists()


def test_what_is_generated_does_not_depend_on_the_place(tmp_path: Path) -> None:
    settings = "[tool.ruff]\nline-length = 40\n[tool.black]\nskip-string-normalization = true\n"
    (tmp_path / "pyproject.toml").write_text(settings, "utf-8")
    result = check(ROOT, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_change_of_the_spec_alone_is_drift(copy: Path) -> None:
    spec = copy / "spec" / "openapi.yaml"
    before = spec.read_text("utf-8")
    spec.write_text(before.replace("maximum: 500, default: 50", "maximum: 400, default: 50"), "utf-8")
    result = check(copy)
    spec.write_text(before, "utf-8")
    assert result.returncode == 1
    assert "models.py" in result.stdout
    assert "openapi.yaml" in result.stdout


# --- what 0.1 demands, and the page on 0.2 ----------------------------------------------------------------------

REQUIRED_PARAMETERS_01 = {
    "get /memories": {"user_id"},
    "get /memories/{id}": {"id"},
    "patch /memories/{id}": {"id"},
    "delete /memories/{id}": {"id"},
    "get /memories/search": {"q", "user_id"},
    "get /audit": {"user_id"},
}
SUCCESS_01 = {
    "post /memories": {"200", "201"},
    "delete /memories/{id}": {"204"},
    **{route: {"200"} for route in ROUTES_01 if route not in ("post /memories", "delete /memories/{id}")},
}
LIMITS_01 = {
    "get /memories": (50, 500),
    "get /memories/search": (10, 100),
    "get /audit": (100, 1000),
}
OPERATION_IDS_01 = """getCapabilities addMemory listMemories getMemory updateMemory deleteMemory searchMemories
    getContext getAudit"""


def parameters(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from map(resolved, operation["parameters"])


@pytest.mark.parametrize("route", ROUTES_01)
def test_the_same_parameters_are_required_as_in_0_1(route: str) -> None:
    needed = {each["name"] for each in parameters(OPERATIONS[route]) if each.get("required")}
    assert needed == REQUIRED_PARAMETERS_01.get(route, set())


@pytest.mark.parametrize("route", SUCCESS_01)
def test_success_is_answered_as_in_0_1(route: str) -> None:
    answers = {status: resolved(each) for status, each in OPERATIONS[route]["responses"].items() if status[0] == "2"}
    assert answers.keys() == SUCCESS_01[route]
    assert all(("content" in each) is (status != "204") for status, each in answers.items())


@pytest.mark.parametrize("route", LIMITS_01)
def test_limits_and_defaults_of_0_1(route: str) -> None:
    limit = taken(OPERATIONS[route])["limit"]
    assert (limit["minimum"], limit["default"], limit["maximum"]) == (1, *LIMITS_01[route])
    assert resolved(taken(OPERATIONS["post /context"])["token_budget"])["default"] == 500


def test_operation_ids_of_0_1() -> None:
    assert set(OPERATION_IDS_01.split()) <= {operation["operationId"] for operation in OPERATIONS.values()}


def test_only_capabilities_and_health_are_open() -> None:
    assert {route for route, each in OPERATIONS.items() if each.get("security") == [{}]} == {
        "get /capabilities",
        "get /healthz",
    }
    kinds = {
        (each["type"], each.get("scheme"), each.get("name")) for each in SPEC["components"]["securitySchemes"].values()
    }
    assert kinds == {("http", "bearer", None), ("apiKey", None, "X-API-Key")}


def test_every_status_of_the_errors_is_declared_somewhere_and_no_other() -> None:
    declared = {status for each in OPERATIONS.values() for status in each["responses"] if status[0] in "45"}
    assert declared <= {str(status) for status, _ in CODES.values()}
    assert declared >= {"400", "401", "403", "404", "409", "413", "429", "503", "504"}  # 500 and 502 by default


def test_codes_statuses_and_types_are_written_in_the_spec() -> None:
    written = SCHEMAS["ErrorCode"]["x-codes"]
    assert {code: (each["status"], each["type"]) for code, each in written.items()} == CODES


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = {node["$ref"] for node in nodes(SPEC) if isinstance(node.get("$ref"), str)}
    for reference in used:
        assert resolved({"$ref": reference})
    named = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "responses")
        for name in SPEC["components"][kind]
    }
    assert named - used <= {"#/components/schemas/ErrorCode"}  # ErrorDetail.code is open to codes of later versions


def added_fields() -> set[str]:
    """Name what requests and responses of 0.2 have beyond 0.1, on the wire."""
    known = {field for fields in FIELDS_01.values() for field in fields.split()} | set().union(*ROUTES_01.values())
    shared = {"MemoryFields", "MemoryInput", "MemoryUpdate", "SearchInput", "ContextInput", *FIELDS_01}
    return {field for name in shared for field in properties(SCHEMAS[name])} - known


PAGE = (ROOT / "docs" / "omp-0.2.md").read_text("utf-8")


def test_the_additions_are_found() -> None:
    assert {"metadata", "kind", "external_id", "version", "superseded_by", "filter", "mode", "vector"} <= added_fields()
    assert not {"content", "scope", "items"} & added_fields()


@pytest.mark.parametrize("name", sorted(added_fields() - {"vector"}))
def test_the_page_names_every_added_field(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "verb",
    [verb for verb in VERBS if verb not in {o.get("x-verb") for o in OPERATIONS.values() if "core" in o["tags"]}],
)
def test_the_page_names_every_added_verb(verb: str) -> None:
    assert f"`{verb}`" in PAGE


def test_the_page_names_every_added_error_and_the_vectors() -> None:
    for code in ("conflict", "payload_too_large", "provider_unavailable", "ingestion_timeout", "internal_error"):
        assert f"`{code}`" in PAGE
    assert "vector" in PAGE


def test_the_page_names_nothing_that_is_not_there() -> None:
    """Every name in the table of additions is a name of the spec."""
    table = PAGE.partition("## Added")[2].partition("##")[0]
    names = set(re.findall(r"`([a-z_0-9]+)`", table))
    known = set(VERBS) | set(CODES) | {field for name in SCHEMAS for field in properties(SCHEMAS[name])}
    known |= {resolved(node).get("name", "") for route in OPERATIONS.values() for node in route["parameters"]}
    assert len(names) > 30
    assert names - known == set()
