"""Thousands of attempts at another user's memories, through every door: none succeeds, none breaks anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from openmem import Memory, OMPError

ATTEMPTS = 3_000
VICTIM, SECRET = "victim", "zqsecretzq"
NOBODY: list[Any] = [None, 0, 7, 7.5, True, False, b"victim", [VICTIM], {"$ne": ""}, "", " ", "\t", "\u2003", "\u200b "]
NEARLY = [
    "Victim",
    "victim ",
    " victim",
    "victim%",
    "vict_m",
    "%",
    "*",
    "victim*",
    "victim/",
    "victim\u200b",
    "vi\u0441tim",
    "victim' OR '1'='1",
    '"victim"',
    "victim--",
    "victim\\",
    "${victim}",
    "victim%00",
    "%76ictim",
    "victim\n",
]
TEXTS = [SECRET, "*", "%", "' OR 1=1 --", '{"or": [{}]}', "\\", "a" * 2_000, "\u202e", "\U0010ffff", "é" * 300]
FILTERS: list[Any] = [
    {"user_id": VICTIM},
    {"not": {"user_id": "x"}},
    {"or": [{"user_id": VICTIM}, {"user_id": {"ne": "x"}}]},
    {"user_id": {"contains": ""}},
    {"user_id": {"in": [VICTIM, "mallory"]}},
    {"metadata.k": {"exists": True}},
    {"content": {"contains": SECRET}},
    {"metadata.user_id": VICTIM},
    {"id": {"gt": ""}},
    {"external_id": "key"},
    {"$where": "1"},
    {"and": []},
    [],
    "x",
]

Attempt = Callable[[], Any]


class Attacker:
    """Makes attempts, all alike for one seed."""

    def __init__(self, memory: Memory, ids: list[str]) -> None:
        self._memory, self._ids = memory, ids
        self._random = random.Random(7)

    def attempt(self) -> Any:
        """Try something; return what was answered."""
        pick = self._random.choice
        user, known, text, filter_ = pick(NOBODY + NEARLY * 2), pick(self._ids), pick(TEXTS), pick(FILTERS)
        if pick("bu") == "b":
            return self._call(self._memory.for_user(user), known, text, filter_)
        # An unbound verb by id without a user is the administrator's; hence a user is always named here.
        name = {"user_id": user if user is not None else "mallory"}
        return self._call(self._memory, known, text, filter_, **name)

    def _call(self, on: Any, known: str, text: str, filter_: Any, **user: Any) -> Any:
        policy = self._random.choice(["replace", "skip", "error"])
        stolen = [{"content": text, "supersedes": [known]}, {"content": text, "user_id": VICTIM}]
        tries: list[Attempt] = [
            lambda: on.get(known, **user),
            lambda: on.update(known, content=text, **user),
            lambda: on.update(known, metadata={"k": text}, **user),
            lambda: on.delete(known, **user),
            lambda: on.delete_many([known, known + "%", text[:200]], **user),
            lambda: on.history(known, **user),
            lambda: on.related(known, **user),
            lambda: on.list(filter=filter_, **user),
            lambda: on.list(scope=text[:50], tag=text[:50], include=["archived", "superseded"], **user),
            lambda: on.search(text, filter=filter_, limit=100, **user),
            lambda: on.search(text, mode="vector", limit=100, **user),
            lambda: on.context(text, token_budget=4000, **user),
            lambda: on.stats(**user),
            lambda: on.audit(**user),
            lambda: on.add(text, supersedes=[known], **user),
            lambda: on.add(text, external_id="key", on_conflict=policy, **user),
            lambda: on.add_many(stolen, **user),
            lambda: on.add_many([{"content": text, "external_id": "key"}], **user),
        ]
        return self._random.choice(tries)()


def test_no_attempt_reaches_another_user(store: str) -> None:
    with Memory(store, embedder="test:32", timeout=60) as memory:
        victim = memory.for_user(VICTIM)
        kept = [victim.add(f"{SECRET} number {n}", metadata={"k": n}) for n in range(8)]
        if memory.capabilities().features.supports_external_id:
            kept.append(victim.add(f"{SECRET} with a key", external_id="key"))
        attacker, refused = Attacker(memory, [each.id for each in kept]), 0
        for _ in range(ATTEMPTS):
            try:
                answer = repr(attacker.attempt())
            except OMPError as error:
                refused += 1
                assert error.status < 500, repr(error)
                answer = str(error)
            assert f"{SECRET} number" not in answer
            assert "with a key" not in answer
        assert 0 < refused < ATTEMPTS
        assert {each.id: victim.get(each.id) for each in kept} == {each.id: each for each in kept}
        assert victim.stats().total == len(kept)
