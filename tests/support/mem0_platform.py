"""mem0's hosted platform as its HTTP client sees it: the routes the adapter uses, their checks, and its oddities."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import httpx
import pytest

from openmem import Memory
from support.twins import Twin, at

URL = "mem0://api.mem0.ai"
KEY = "m0-very-secret"
ENTITIES = ("user_id", "agent_id", "app_id", "run_id")
TIMES = ("created_at", "updated_at", "timestamp")
MEANS = {
    "kittens": "cat",
    "nap": "sleeping",
    "upon": "on",
    "couches": "sofa",
}
"""Words that its embedder takes for others."""
ADD = {"messages", *ENTITIES, "metadata", "expiration_date", "infer", "timestamp", "immutable", "custom_categories"}
LIST = {"filters", "show_expired", "start_date", "end_date", "categories", "fields"}
SEARCH = {"query", "filters", "top_k", "threshold", "rerank", "reference_date", "fields", "show_expired"}
PUT = {"text", "metadata", "timestamp", "expiration_date"}

Body = dict[str, Any]
Row = dict[str, Any]


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, reason: Any) -> None:
        self.response = httpx.Response(status, json={"error": reason})


class Platform(Twin):
    """The platform of one key."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Row] = {}
        self.of_users: defaultdict[str | None, dict[str, Row]] = defaultdict(dict)
        self.events: dict[str, Row] = {}
        self.polls = 0
        """Looks at an event before an add is done; 0: it is done at once."""
        self.outcome = "SUCCEEDED"
        """How adds end: SUCCEEDED, FAILED, or DROPPED, which succeeds and stores nothing."""
        self.leaks = False
        """Whether reads answer everybody's records, whatever the filter says."""
        self.merges = False
        """Whether metadata of an update is merged into what there is."""
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def reply(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Token {KEY}":
            return httpx.Response(401, json={"detail": "Invalid API key."})
        try:
            return httpx.Response(200, json=self._route(request))
        except Refused as refused:
            return refused.response

    def _route(self, request: httpx.Request) -> Any:
        path = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")[1:]]
        body, query = json.loads(request.content or b"{}"), dict(request.url.params)
        match (request.method, *path):
            case ("POST", "v3", "memories", "add", ""):
                return self._ask("add", self._add, body)
            case ("POST", "v3", "memories", ""):
                return self._ask("list", self._list, body, query)
            case ("POST", "v3", "memories", "search", ""):
                return self._ask("search", self._search, body)
            case ("DELETE", "v1", "batch", ""):
                return self._ask("batch", self._batch, body)
            case ("GET", "v1", "event", event_id, ""):
                return self._ask("event", self._event, event_id)
            case (method, "v1", "memories", row_id, ""):
                return self._ask(method.lower(), getattr(self, f"_{method.lower()}"), self._row(row_id), body)
            case ("GET", "v1", "memories", row_id, "history", ""):
                return self._ask("history", lambda row: row["history"], self._row(row_id))
        raise Refused(404, "Not found.")

    def _ask(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        self.asked[name] += 1
        return work(*arguments)

    # --- writes -------------------------------------------------------------------------------------------------

    def _add(self, body: Body) -> Any:
        check(body.keys() <= ADD, f"unknown fields {sorted(body.keys() - ADD)}")
        ids = [body[name] for name in ENTITIES if body.get(name)]
        check(ids, "One of the filters: app_id, user_id, agent_id, run_id is required!")
        check(
            all(isinstance(each, str) and not re.search(r"\s", each) and each != "*" for each in ids), "bad entity id"
        )
        check(body.get("messages"), "messages is required")
        infer = body.get("infer", True)
        event = {"id": str(uuid4()), "body": body, "status": "PENDING", "results": [], "left": self.polls}
        event["left"] = max(1, self.polls) if infer else self.polls
        self.events[event["id"]] = event
        if event["left"]:
            return {"message": "Memory processing has been queued", "status": "PENDING", "event_id": event["id"]}
        self.finish(event)
        return {"status": event["status"], "event_id": event["id"], "results": event["results"]}

    def finish(self, event: Row) -> None:
        event["status"] = "FAILED" if self.outcome == "FAILED" else "SUCCEEDED"
        if self.outcome != "SUCCEEDED":
            return
        body = event["body"]
        texts = [message["content"] for message in body["messages"]]
        if body.get("infer", True):
            texts = [fact.strip() for text in texts for fact in text.split(".") if fact.strip()]
        event["results"] = [
            {"id": self.store(text, body)["id"], "data": {"memory": text}, "event": "ADD"} for text in texts
        ]

    def store(self, text: str, fields: Body) -> Row:
        """Store a record as an application written for mem0 does."""
        row = {"id": str(uuid4()), "memory": text, "metadata": fields.get("metadata"), "categories": ["misc"]}
        row |= {name: fields.get(name) for name in (*ENTITIES, "expiration_date")}
        row |= {"created_at": self._tick(), "words": words(text), "history": []}
        row["updated_at"] = row["created_at"]
        self._log(row, None, text, "ADD")
        self.rows[row["id"]] = self.of_users[row["user_id"]][row["id"]] = row
        return row

    def remove(self, row: Row) -> None:
        del self.rows[row["id"]], self.of_users[row["user_id"]][row["id"]]

    def _put(self, row: Row, body: Body) -> Any:
        check(body and body.keys() <= PUT, f"unknown fields {sorted(body.keys() - PUT)}")
        text = body.get("text", row["memory"])
        check(isinstance(text, str) and text, "text may not be blank")
        self._log(row, row["memory"], text, "UPDATE")
        former = row["metadata"] or {} if self.merges else {}
        row["metadata"] = {**former, **(body.get("metadata") or {})} or None
        row |= {"memory": text, "words": words(text), "updated_at": self._tick()}
        row["expiration_date"] = body.get("expiration_date", row["expiration_date"])
        return shown(row)

    def _delete(self, row: Row, body: Body) -> Any:
        self.remove(row)
        return {"message": "Memory deleted successfully!"}

    def _batch(self, body: Body) -> Any:
        ids = [each["memory_id"] for each in body["memories"]]
        check(len(ids) <= 1000, "Maximum of 1000 memories can be deleted in a single request")
        rows = [self._row(each) for each in ids]
        for row in rows:
            self.remove(row)
        return {"message": f"Successfully deleted {len(rows)} memories"}

    # --- reads --------------------------------------------------------------------------------------------------

    def _event(self, event_id: str) -> Any:
        event = self.events.get(event_id)
        if event is None:
            raise Refused(404, "Event not found or you don't have permission to access it.")
        if event["status"] in ("PENDING", "RUNNING"):
            event["left"] -= 1
            event["status"] = "RUNNING"
            if event["left"] < 0:
                self.finish(event)
        return {"id": event_id, "event_type": "ADD", "status": event["status"], "results": event["results"]}

    def _get(self, row: Row, body: Body) -> Any:
        return shown(row)

    def _list(self, body: Body, query: dict[str, str]) -> Any:
        check(body.keys() <= LIST, f"unknown fields {sorted(body.keys() - LIST)}")
        page, size = int(query.get("page", 1)), int(query.get("page_size", 100))
        check(1 <= size <= 200, "page_size must be between 1 and 200")
        rows = sorted(self._selected(body), key=lambda row: str(row["created_at"]), reverse=True)
        part = rows[(page - 1) * size : page * size]
        more = f"https://api.mem0.ai/v3/memories/?page={page + 1}&page_size={size}" if page * size < len(rows) else None
        return {"count": len(rows), "next": more, "previous": None, "results": [shown(row) for row in part]}

    def _search(self, body: Body) -> Any:
        check(body.keys() <= SEARCH, f"unknown fields {sorted(body.keys() - SEARCH)}")
        check(isinstance(body.get("query"), str) and body["query"].strip(), "query may not be blank")
        top_k, threshold = body.get("top_k", 10), body.get("threshold", 0.1)
        check(1 <= top_k <= 1000, "top_k must be between 1 and 1000")
        wanted = words(body["query"])
        scored = [(cosine(wanted, row["words"]), row) for row in self._selected(body)]
        best = sorted((each for each in scored if each[0] >= threshold), key=lambda each: -each[0])[:top_k]
        return {"results": [shown(row, score=score) for score, row in best]}

    def _selected(self, body: Body) -> Iterable[Row]:
        filters = body.get("filters")
        check(isinstance(filters, dict) and filters, "filters is required")
        matches(dict.fromkeys((*ENTITIES, "metadata")), filters)  # a wrong filter is refused whatever there is
        whole, today = [filters, *filters.get("AND", ())], datetime.now(UTC).date()
        user = next((each["user_id"] for each in whole if "user_id" in each), None)
        few = isinstance(user, str) and user != "*" and not self.leaks
        for row in list(self.of_users.get(user, {}).values() if few else self.rows.values()):
            ended = row["expiration_date"] and date.fromisoformat(row["expiration_date"]) < today
            if (self.leaks or matches(row, filters)) and (body.get("show_expired") or not ended):
                yield row

    def _row(self, row_id: str) -> Row:
        try:
            UUID(row_id)
        except ValueError:
            raise Refused(400, "memory_id should be a valid UUID") from None
        if row_id not in self.rows:
            raise Refused(404, "Memory not found!")
        return self.rows[row_id]

    def _log(self, row: Row, old: str | None, new: str, event: str) -> None:
        row["history"].append({"memory_id": row["id"], "old_memory": old, "new_memory": new, "event": event})

    def _tick(self) -> str:
        self._now += timedelta(milliseconds=1)
        return self._now.isoformat()


def check(condition: object, reason: str) -> None:
    if not condition:
        raise Refused(400, reason)


def shown(row: Row, *, score: float | None = None) -> Row:
    """Write a record as an answer has it; a search names a field and a moment otherwise than the rest."""
    answer = {name: value for name, value in row.items() if name not in ("words", "history", "run_id")}
    if score is None:
        return answer | {"session_id": row["run_id"], "structured_attributes": {}}
    moments = {name: str(row[name]).replace("+00:00", "Z") for name in ("created_at", "updated_at")}
    return answer | moments | {"run_id": row["run_id"], "score": score, "score_breakdown": {"semantic": score}}


def matches(row: Row, filters: Any) -> bool:
    """Evaluate a filter; every part of it is looked at, so that a wrong one is refused."""
    check(isinstance(filters, dict), "a filter is an object")
    verdicts = [_holds(row, name, value) for name, value in filters.items()]
    return all(verdicts)


def _holds(row: Row, name: str, value: Any) -> bool:
    if name in ("AND", "OR", "NOT"):
        check(isinstance(value, list) and value, f"{name} takes a list")
        verdicts = [matches(row, each) for each in value]
        return {"AND": all(verdicts), "OR": any(verdicts), "NOT": not any(verdicts)}[name]
    if name == "metadata":
        check(isinstance(value, dict) and value, "metadata takes an object")
        verdicts = [_metadata(row["metadata"] or {}, key, wanted) for key, wanted in value.items()]
        return all(verdicts)
    check(name in ENTITIES, f"unknown filter {name}")
    if value == "*":
        return row[name] is not None
    operators = value if isinstance(value, dict) else {"eq": value}
    check(operators.keys() <= {"eq", "ne", "in"}, f"unknown operator of {name}")
    tests = {"eq": lambda v: row[name] == v, "ne": lambda v: row[name] != v, "in": lambda v: row[name] in v}
    return all(tests[operator](wanted) for operator, wanted in operators.items())


def _metadata(metadata: Row, key: str, value: Any) -> bool:
    operators = value if isinstance(value, dict) else {"eq": value}
    check(operators.keys() <= {"eq", "ne", "contains"}, "unknown operator of metadata")
    held = metadata.get(key) if isinstance(metadata, dict) else None
    tests = {"eq": lambda v: held == v, "ne": lambda v: held != v, "contains": lambda v: v in (held or "")}
    return all(tests[operator](wanted) for operator, wanted in operators.items())


def words(text: str) -> Counter[str]:
    return Counter(MEANS.get(word, word) for word in re.findall(r"\w+", text.lower()))


def cosine(one: Counter[str], other: Counter[str]) -> float:
    dot = sum(count * other[word] for word, count in one.items())
    return dot / math.sqrt(one_length(one) * one_length(other)) if dot else 0.0


def one_length(counts: Counter[str]) -> int:
    return sum(count * count for count in counts.values())


# --- fixtures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def platform() -> Iterator[Platform]:
    twin = Platform()
    with at("api.mem0.ai", twin):
        yield twin


@pytest.fixture
def mem(platform: Platform) -> Iterator[Memory]:
    with Memory(URL, api_key=KEY) as memory:
        yield memory


def row_of(platform: Platform, memory_id: str) -> dict[str, Any]:
    [row] = [row for row in platform.rows.values() if (row["metadata"] or {}).get("openmem_id") == memory_id]
    return row
