"""Random programs of all verbs: histories with keys, batches, pages, counts and erasure among them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from openmem import Memory
from openmem.types import BatchResult

from .histories import FILTERS, METADATA, SCOPES, SELECTORS, SESSIONS, STATES, USERS, WORDS, Backends

KEYS = st.sampled_from(["k1", "k2", "k3"])
PLACES = st.lists(st.integers(0, 9), max_size=4)
PATCHES = st.lists(
    st.fixed_dictionaries(
        {"place": st.integers(0, 9) | KEYS},
        optional={
            "content": WORDS.map(" ".join),
            "session": SESSIONS,
            "scope": SCOPES,
            "metadata": METADATA,
            "source": st.sampled_from([None, {"app": "a"}, {"app": None, "ref": "r"}]),
            "if_version": st.integers(1, 3),
            "archived": st.none() | st.booleans(),
        },
    ),
    max_size=4,
)


class Programs(Backends):
    """Drives two backends through every verb that both have of themselves."""

    @rule(user=USERS, key=KEYS)
    def read_by_key(self, user: str, key: str) -> None:
        self.both(lambda memory, ids, backend: memory.get(external_id=key, user_id=user))
        self.both(lambda memory, ids, backend: memory.history(external_id=key, user_id=user))
        self.both(lambda memory, ids, backend: told(memory.get_many(external_ids=[key, "k0", key], user_id=user)))

    @rule(user=USERS, key=KEYS, words=WORDS, session=SESSIONS)
    def update_by_key(self, user: str, key: str, words: list[str], session: str | None) -> None:
        self.clock.now += timedelta(seconds=1)
        fields = {"content": " ".join(words), "session": session}
        self.both(lambda memory, ids, backend: memory.update(external_id=key, user_id=user, **fields))

    @precondition(lambda self: self.ids[0])
    @rule(user=USERS, key=KEYS, chain=st.booleans())
    def delete_by_key(self, user: str, key: str, chain: bool) -> None:
        self.unordered |= chain
        self.both(lambda memory, ids, backend: memory.delete(external_id=key, user_id=user, chain=chain))

    @rule(owner=st.none() | USERS, places=PLACES)
    def get_many(self, owner: str | None, places: list[int]) -> None:
        self.both(lambda memory, ids, backend: told(memory.get_many(named(places, ids), user_id=owner)))

    @rule(owner=USERS, patches=PATCHES)
    def update_many(self, owner: str, patches: list[dict[str, Any]]) -> None:
        self.clock.now += timedelta(seconds=1)

        def call(memory: Memory, ids: list[str], backend: int) -> list[Any]:
            return told(memory.update_many([addressed(patch, ids) for patch in patches], user_id=owner))

        self.both(call)

    @rule(user=USERS, scope=SELECTORS, filter=FILTERS, session=SESSIONS, dry=st.booleans())
    def erase(self, user: str, dry: bool, **fields: Any) -> None:
        given = {name: value for name, value in fields.items() if value is not None} or {"tag": "t"}
        self.unordered |= not dry
        self.both(lambda memory, ids, backend: memory.erase(user, dry_run=dry, **given).count)

    @rule(user=USERS, log=st.booleans())
    def erase_all(self, user: str, log: bool) -> None:
        self.unordered = True
        self.both(lambda memory, ids, backend: memory.erase(user, all=True, dry_run=False, audit=log).count)
        self.clock.now += timedelta(seconds=1)  # reads of the moment of a forgetting are forgotten too

    @rule(user=USERS, scope=SELECTORS, filter=FILTERS, session=SESSIONS)
    def count(self, user: str, **fields: Any) -> None:
        self.both(lambda memory, ids, backend: memory.stats(user, **fields).model_dump(exclude={"audit_dropped"}))

    @rule(user=USERS, under=SCOPES, depth=st.none() | st.integers(1, 2), include=STATES, limit=st.integers(1, 2))
    def take_census(self, user: str, limit: int, **fields: Any) -> None:
        def scopes(memory: Memory, ids: list[str], backend: int) -> list[Any]:
            return whole(lambda cursor: memory.scopes(user, limit=limit, cursor=cursor, **fields))

        def users(memory: Memory, ids: list[str], backend: int) -> list[Any]:
            return whole(lambda cursor: memory.users(limit=limit, cursor=cursor))

        self.both(scopes)
        self.both(users)

    @rule(user=USERS, words=WORDS, mode=st.sampled_from(["keyword", "vector"]), offset=st.integers(0, 3))
    def search_further(self, user: str, words: list[str], mode: Any, offset: int) -> None:
        for memory in self.memories:
            cut = memory.search(" ".join(words), user, mode=mode, offset=offset, limit=2)
            assert cut == memory.search(" ".join(words), user, mode=mode, limit=offset + 2)[offset:]

    @rule(user=USERS, scope=SELECTORS, filter=FILTERS, limit=st.integers(1, 3))
    def list_oldest_first(self, user: str, limit: int, **fields: Any) -> None:
        def call(memory: Memory, ids: list[str], backend: int) -> list[Any]:
            return whole(lambda cursor: memory.list(user, order="oldest", limit=limit, cursor=cursor, **fields))

        self.both(call)


def named(places: Sequence[int], ids: Sequence[str]) -> list[str]:
    return [ids[place] if place < len(ids) else f"mem_unknown{place}" for place in places]


def addressed(patch: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    place = patch["place"]
    name = {"external_id": place} if isinstance(place, str) else {"id": named([place], ids)[0]}
    return {**name, **{field: value for field, value in patch.items() if field != "place"}}


def told(results: Sequence[BatchResult]) -> list[Any]:
    return [(result.memory, result.error and result.error.code) for result in results]


def whole(page_at: Any) -> list[Any]:
    pages, cursor = [], None
    while True:
        page = page_at(cursor)
        pages.append([each.model_dump() for each in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return pages
