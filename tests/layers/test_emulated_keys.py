"""A provider that knows ids alone is addressed by keys all the same, and says that the SDK does it."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import Memory, NotFoundError
from openmem._generated import models
from openmem.adapters.memory import MemoryAdapter
from support.scripted import EMBEDDING


class IdsOnly(MemoryAdapter):
    """memory:// as before it knew keys as addresses; it notes what reaches it."""

    name = "ids"

    def __init__(self, **features: Any) -> None:
        super().__init__(embedding=EMBEDDING)
        self.changes = {"external_id_lookup": None, **features}
        self.reached: list[Any] = []

    def features(self) -> models.CapabilityFeatures:
        return super().features().model_copy(update=self.changes)

    def handle(self, request: Any) -> Any:
        assert "external_id" not in request.model_fields_set or isinstance(request, models.AddRequest)
        assert not getattr(request, "external_ids", None)
        self.reached.append(request)
        return super().handle(request)


@pytest.fixture(params=[{}, {"filters": "none"}], ids=["filters", "no filters"])
def adapter(request: pytest.FixtureRequest) -> IdsOnly:
    return IdsOnly(**request.param)


def test_it_is_declared() -> None:
    assert Memory(IdsOnly(), embedder="test:16").capabilities().features.external_id_lookup == "client"
    assert Memory("memory://", embedder="none").capabilities().features.external_id_lookup == "native"
    without = IdsOnly(supports_external_id=False)
    assert Memory(without, embedder="test:16").capabilities().features.external_id_lookup is None


def test_every_verb_finds_the_record_of_a_key_in_whatever_state(adapter: IdsOnly) -> None:
    with Memory(adapter, embedder="test:16") as memory:
        mine = memory.for_user("u")
        memory.add_many([{"content": f"tea {n}", "external_id": f"k{n}"} for n in range(600)], user_id="u")
        memory.add("tea", "v", external_id="k")
        old = mine.add("tea", external_id="k", archived=True)
        assert mine.get(external_id="k").id == old.id
        assert mine.get(external_id="k7").content == "tea 7"
        assert mine.update(external_id="k", kind="fact", if_version=1, **{"x-own": None}).version == 2
        assert [each.id for each in mine.history(external_id="k")] == [old.id]
        assert len(mine.related(external_id="k", limit=3)) == 3
        found = mine.get_many(external_ids=["k", "none", "k"])
        assert [each.id for each in found] == [old.id, None, old.id]
        changed = mine.update_many(
            [{"external_id": "k", "kind": "event"}, {"id": old.id, "if_version": 3, "tags": ["t"]}]
        )
        assert [each.memory.version for each in changed if each.memory] == [3, 4]
        mine.delete(external_id="k", if_version=4)
        for call in (mine.get, mine.delete, mine.history):
            with pytest.raises(NotFoundError, match="there is no memory k"):
                call(external_id="k")
        assert memory.get(external_id="k", user_id="v").content == "tea"


def test_it_leaves_one_entry_of_the_verb_that_was_called(adapter: IdsOnly) -> None:
    with Memory(adapter, embedder="test:16") as memory:
        memory.add("tea", "u", external_id="k")
        memory.get(external_id="k", user_id="u")
        memory.update(external_id="k", user_id="u", kind="fact")
        assert [each.action for each in memory.audit("u")] == ["update", "get", "add"]


def test_a_filter_that_is_not_heeded_finds_no_other_record() -> None:
    class Heedless(IdsOnly):
        async def list(self, request: models.ListRequest) -> models.MemoryPage:
            return await super().list(request.model_copy(update={"filter": None}))

    with Memory(Heedless(), embedder="test:16") as memory:
        memory.add("tea", "u", external_id="k")
        memory.add("coffee", "u", external_id="other")
        assert memory.get(external_id="k", user_id="u").content == "tea"
        with pytest.raises(NotFoundError):
            memory.get(external_id="none", user_id="u")
