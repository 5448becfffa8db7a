"""The fake of mem0's platform refuses what the platform refuses; else it would prove nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from support.mem0_platform import KEY, Platform

ANN = {"user_id": "ann"}
WRONG: list[tuple[str, str, Any, int]] = [
    ("POST", "/v3/memories/", ANN, 400),
    ("POST", "/v3/memories/", {"filters": {}}, 400),
    ("POST", "/v3/memories/", {"filters": {"topic": "x"}}, 400),
    ("POST", "/v3/memories/", {"filters": {"metadata": {"n": {"gt": 1}}}}, 400),
    ("POST", "/v3/memories/", {"filters": {"OR": [ANN, {"metadata": {"n": {"in": [1]}}}]}}, 400),
    ("POST", "/v3/memories/?page_size=201", {"filters": ANN}, 400),
    ("POST", "/v3/memories/search/", {"query": "x", "filters": ANN, "top_k": 1001}, 400),
    ("POST", "/v3/memories/search/", {"query": " ", "filters": ANN}, 400),
    ("POST", "/v3/memories/search/", {"query": "x", **ANN}, 400),
    ("POST", "/v3/memories/add/", {"messages": [{"role": "user", "content": "x"}]}, 400),
    ("POST", "/v3/memories/add/", {"messages": [{"role": "user", "content": "x"}], "user_id": "a b"}, 400),
    ("POST", "/v3/memories/add/", {"messages": [], **ANN}, 400),
    ("POST", "/v3/memories", {"filters": ANN}, 404),
    ("GET", "/v1/memories/mem_1/", None, 400),
    ("GET", "/v1/memories/2c4d7a4e-0000-4000-8000-000000000000/", None, 404),
    ("GET", "/v1/event/none/", None, 404),
    ("DELETE", "/v1/batch/", {"memories": [{"memory_id": "x"}] * 1001}, 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), WRONG)
def test_the_fake_refuses(method: str, path: str, body: Any, status: int) -> None:
    content = json.dumps(body) if body is not None else None
    for key, expected in ((KEY, status), ("other", 401)):
        headers = {"Authorization": f"Token {key}"}
        request = httpx.Request(method, f"https://api.mem0.ai{path}", content=content, headers=headers)
        assert Platform().answer(request).status_code == expected


def test_the_fake_forgets_metadata_that_an_update_leaves_out() -> None:
    twin = Platform()
    row = twin.store("tea", {**ANN, "metadata": {"a": 1}})
    request = httpx.Request(
        "PUT",
        f"https://api.mem0.ai/v1/memories/{row['id']}/",
        json={"text": "coffee"},
        headers={"Authorization": f"Token {KEY}"},
    )
    assert twin.answer(request).json()["metadata"] is None
    assert [each["event"] for each in row["history"]] == ["ADD", "UPDATE"]
