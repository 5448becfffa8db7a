"""A record by its key, and many read or changed at once, on every backend."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from openmem import AsyncMemory, Memory, NotFoundError
from openmem.conformance import run
from openmem.types import MemoryRecord

HOSTILE = [
    "a/../b",
    "..",
    "%2e",
    "k'; DROP TABLE memories; --",
    "*",
    "_",
    "%",
    " k ",
    "K",
    "é",
    "e\u0301",
    "a\u2028b",
    "x" * 256,
]


def test_the_clauses_hold(store: str) -> None:
    only = ["IDN-8", "IDN-9", "BAT-5", "BAT-6", "UPD-8", "UPD-9", "UPD-10"]
    report = asyncio.run(run(store, only=only, options={"embedder": "test"}))
    assert report.exit_code == 0, report.summary()
    assert {name for name, count in report.counts.items() if count} <= {"pass", "verified-unsupported"}


def test_a_key_finds_its_record_and_no_other(store: str) -> None:
    with Memory(store, embedder="test") as memory:
        items = [{"content": f"of {user}", "external_id": key, "user_id": user} for user in "uv" for key in HOSTILE]
        ids = {
            (item["user_id"], item["external_id"]): each.id
            for item, each in zip(items, memory.add_many(items), strict=True)
        }
        for (user, key), memory_id in ids.items():
            assert memory.get(external_id=key, user_id=user).id == memory_id
        found = memory.get_many(external_ids=HOSTILE, user_id="u")
        assert [each.id for each in found] == [ids["u", key] for key in HOSTILE]
        memory.delete(external_id="..", user_id="u")
        with pytest.raises(NotFoundError):
            memory.get(external_id="..", user_id="u")
        assert memory.get(external_id="..", user_id="v").id == ids["v", ".."]
        assert memory.add("again", "u", external_id="..").id not in ids.values()


def test_a_batch_of_updates_does_what_updates_do_one_by_one(store: str) -> None:
    chance = random.Random(7)
    with Memory(store, embedder="test") as memory:
        for user in "uv":
            memory.add_many([{"content": f"word{n}", "external_id": f"k{n}"} for n in range(12)], user_id=user)
        patches = [_patch(chance) for _ in range(60)]
        batch = memory.update_many([{"external_id": key, **patch} for key, patch in patches], user_id="u")
        for (key, patch), result in zip(patches, batch, strict=True):
            one = memory.update(external_id=key, user_id="v", **patch)
            assert result.memory is not None
            assert _told(result.memory) == _told(one)
        for mine, theirs in zip(_all(memory, "u"), _all(memory, "v"), strict=True):
            assert _told(mine) == _told(theirs)
        for n in range(12):
            one, other = [memory.search(f"word{n}", user, limit=100) for user in "uv"]
            assert sorted(each.memory.external_id or "" for each in one) == sorted(
                each.memory.external_id or "" for each in other
            )


def _patch(chance: random.Random) -> tuple[str, dict[str, Any]]:
    fields: dict[str, Any] = {
        "content": f"word{chance.randrange(12)}",
        "kind": chance.choice(["fact", None]),
        "tags": chance.choice([["a"], ["b", "c"], None]),
        "metadata": {chance.choice("xyz"): chance.choice([1, None])},
        "source": chance.choice([None, {"app": "mail"}, {"ref": "r"}]),
    }
    names = chance.sample(list(fields), chance.randint(1, 3))
    return f"k{chance.randrange(12)}", {name: fields[name] for name in names}


def _told(memory: MemoryRecord) -> dict[str, Any]:
    return memory.model_dump(exclude={"id", "user_id", "created_at", "updated_at"})


def _all(memory: Memory, user: str) -> list[MemoryRecord]:
    return sorted(memory.list(user, limit=100).items, key=lambda each: each.external_id or "")


def test_answers_share_nothing(store: str) -> None:
    with Memory(store, embedder="test") as memory:
        added = memory.add("x", "u", metadata={"a": {"b": 1}}, tags=["t"])
        first, second = [each.memory for each in memory.get_many([added.id, added.id])]
        assert first is not None
        assert second is not None
        first.metadata["a"]["b"] = 2  # type: ignore[index]
        first.tags.append("u")  # type: ignore[union-attr]
        assert second.metadata == {"a": {"b": 1}}
        assert memory.get(added.id).tags == ["t"]


def test_many_more_than_one_transaction_takes(store: str) -> None:
    count = 300 if store.startswith(("mem0", "qdrant:")) else 1_100
    with Memory(store, embedder="test", timeout=120) as memory:
        items = [{"content": f"n {n}", "external_id": f"k{n}"} for n in range(count)]
        ids = [each.id or "" for each in memory.add_many(items, user_id="u")]
        keys = [f"k{n}" for n in reversed(range(count))]
        assert [each.id for each in memory.get_many(external_ids=keys, user_id="u")] == ids[::-1]
        changed = memory.update_many([{"id": each, "kind": "fact", "if_version": 1} for each in ids], user_id="u")
        assert [each.id for each in changed] == ids
        assert {each.memory.version for each in changed if each.memory} == {2}
        assert [each.memory.kind for each in memory.get_many(ids) if each.memory] == ["fact"] * count


def test_concurrent_changes_by_key_each_count(store: str) -> None:
    with Memory(store, embedder="test") as memory:
        memory.add("x", "u", external_id="k", metadata={})

        async def change() -> None:
            async with AsyncMemory(store, embedder="test") as client:
                await asyncio.gather(
                    *(client.update(external_id="k", user_id="u", metadata={f"m{n}": n}) for n in range(8)),
                    *(
                        client.update_many([{"external_id": "k", "metadata": {f"b{n}": n}}], user_id="u")
                        for n in range(4)
                    ),
                )

        if store != "memory://":
            memory.close()
            asyncio.run(change())
            with Memory(store, embedder="test") as again:
                read = again.get(external_id="k", user_id="u")
            assert read.version == 13
            assert len(read.metadata or {}) == 12
