"""The generic forms of erase and of the deletion of a chain, over backends that have neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openmem import (
    ConflictError,
    Memory,
    NotFoundError,
    ProviderError,
    ProviderUnavailableError,
    UnsupportedCapabilityError,
)
from openmem._generated import models
from openmem.adapter import Adapter
from openmem.adapters.memory import MemoryAdapter
from support.clocks import START

STATES = ["superseded", "expired", "archived"]


class Plain(Adapter):
    """memory:// with neither erase nor the deletion of a chain."""

    name = "plain"
    inline = True

    def __init__(self, **features: Any) -> None:
        super().__init__()
        self.inner = MemoryAdapter()
        self.given = features
        self.before_delete: Callable[[models.DeleteRequest], None] = lambda request: None

    def features(self) -> models.CapabilityFeatures:
        update = {"supports_chain_delete": None, "supports_audit": None, **self.given}
        return self.inner.features().model_copy(update=update)

    def limits(self) -> models.CapabilityLimits:
        return models.CapabilityLimits(max_list_results=3)

    async def add(self, request: models.AddRequest) -> models.MemoryRecord:
        return await self.inner.add(request)

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        return await self.inner.get(request)

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        return await self.inner.list(request)

    async def history(self, request: models.HistoryRequest) -> models.HistoryResponse:
        return await self.inner.history(request)

    async def delete(self, request: models.DeleteRequest) -> None:
        assert not request.chain
        self.before_delete(request)
        await self.inner.delete(request)


@pytest.fixture
def adapter() -> Plain:
    return Plain()


@pytest.fixture
def memory(adapter: Plain) -> Memory:
    return Memory(adapter)


def filled(memory: Memory) -> None:
    for number in range(8):
        memory.add(f"n {number}", "u", tags=["t"] if number < 5 else None)
    old = memory.add("old", "u", tags=["t"])
    memory.add("new", "u", supersedes=[old.id])
    memory.add("put away", "u", archived=True)
    memory.add("over", "u", valid_to=START)
    memory.add("theirs", "v", tags=["t"])


def total(memory: Memory, user: str = "u") -> int:
    return memory.stats(user).total


def test_it_is_declared_as_emulated(memory: Memory) -> None:
    capabilities = memory.capabilities()
    assert "erase" in (capabilities.emulated or ())
    assert capabilities.features.supports_chain_delete


def test_every_state_is_erased_page_by_page(memory: Memory) -> None:
    filled(memory)
    assert (memory.erase("u", tag="t").count, total(memory)) == (6, 12)
    erased = memory.erase("u", tag="t", dry_run=False)
    assert (erased.count, erased.dry_run, total(memory)) == (6, False, 6)
    assert erased.unreached
    assert memory.erase("u", all=True, dry_run=False).count == 6
    assert (total(memory), total(memory, "v")) == (0, 1)


def test_what_is_selected_by_its_links_goes_though_the_erase_itself_frees_them(memory: Memory) -> None:
    old = [memory.add(f"old {number}", "u").id for number in range(4)]
    for number in range(3):
        memory.add(f"between {number}", "u")
    for each in old:
        memory.add("new", "u", tags=["t"], supersedes=[each])
    linked = {"or": [{"superseded_at": {"exists": True}}, {"tags": {"contains": "t"}}]}
    assert (memory.erase("u", filter=linked).count, total(memory)) == (8, 11)
    assert (memory.erase("u", filter=linked, dry_run=False).count, total(memory)) == (8, 3)


@pytest.mark.parametrize(("tags", "erased"), [(["t", "more"], 6), (["other"], 5)])
def test_what_is_updated_meanwhile_is_erased_if_it_is_selected_still(
    memory: Memory, adapter: Plain, tags: list[str], erased: int
) -> None:
    filled(memory)
    updated: list[str] = []

    def first(request: models.DeleteRequest) -> None:
        if not updated:
            updated.append(request.id)
            change = models.UpdateRequest(id=request.id, tags=tags)
            adapter.inner.store.do(lambda store: adapter.inner.rules.update(change, store))

    adapter.before_delete = first
    assert (memory.erase("u", tag="t", dry_run=False).count, total(memory)) == (erased, 12 - erased)


def test_what_is_gone_meanwhile_does_not_count(memory: Memory, adapter: Plain) -> None:
    filled(memory)
    gone: list[str] = []

    def first(request: models.DeleteRequest) -> None:
        if not gone:
            gone.append(request.id)
            adapter.inner.store.do(lambda store: store.remove(store.get(request.id)))  # type: ignore[arg-type]

    adapter.before_delete = first
    assert memory.erase("u", all=True, dry_run=False).count == 11
    assert total(memory) == 0


def test_an_erase_that_ends_half_way_says_how_far_it_came(memory: Memory, adapter: Plain) -> None:
    filled(memory)
    left = [None] * 4

    def break_down(request: models.DeleteRequest) -> None:
        if not left:
            raise ProviderUnavailableError("gone.", written="nothing")
        left.pop()

    adapter.before_delete = break_down
    with pytest.raises(ProviderUnavailableError, match=r"^4 memories are erased, the others not: gone") as caught:
        memory.erase("u", all=True, dry_run=False)
    assert caught.value.written == "part"
    assert total(memory) == 8


def test_an_erase_that_ends_before_it_began_has_written_nothing(memory: Memory, adapter: Plain) -> None:
    filled(memory)

    def break_down(request: models.DeleteRequest) -> None:
        raise ProviderError("no.", written="nothing")

    adapter.before_delete = break_down
    with pytest.raises(ProviderError, match=r"^no") as caught:
        memory.erase("u", tag="t", dry_run=False)
    assert caught.value.written == "nothing"
    assert total(memory) == 12


@pytest.mark.parametrize("features", [{"temporal": False}, {"temporal": False, "supports_archive": False}])
def test_it_is_not_made_over_a_list_that_hides_states(features: dict[str, Any]) -> None:
    memory = Memory(Plain(**features))
    assert "erase" not in memory.capabilities().verbs
    with pytest.raises(UnsupportedCapabilityError):
        memory.erase("u", all=True)


def test_it_is_made_over_a_list_without_states() -> None:
    memory = Memory(Plain(temporal=False, supports_archive=False, supports_supersession=False))
    memory.add("one", "u")
    assert memory.erase("u", all=True, dry_run=False).count == 1
    assert not memory.capabilities().features.supports_chain_delete


def test_a_log_that_it_cannot_erase_is_said_before_anything_is_done() -> None:
    class Logging(Plain):
        async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
            return await self.inner.audit(request)

    memory = Memory(Logging(supports_audit=True))
    memory.add("one", "u")
    with pytest.raises(UnsupportedCapabilityError, match="audit"):
        memory.erase("u", all=True, audit=True, dry_run=False)
    assert total(memory) == 1
    memory.erase("u", all=True)
    memory.erase("u", all=True, dry_run=False)
    actions = [each.action for each in memory.audit("u") if each.action == "erase"]
    assert actions == ["erase"] * 2  # the dry run, and the memory


def test_a_chain_is_deleted_oldest_first(memory: Memory, adapter: Plain) -> None:
    one = memory.add("one", "u")
    two = memory.add("two", "u", supersedes=[one.id])
    three = memory.add("three", "u", supersedes=[two.id])
    memory.add("stays", "u")
    order: list[str] = []
    adapter.before_delete = lambda request: order.append(request.id)
    with pytest.raises(ConflictError):
        memory.delete(two.id, chain=True, if_version=5)
    with pytest.raises(NotFoundError):
        memory.delete(two.id, user_id="v", chain=True)
    assert order == []
    memory.delete(two.id, chain=True, if_version=1)
    assert order == [one.id, two.id, three.id]
    assert [each.content for each in memory.list("u", include=["superseded"], limit=3).items] == ["stays"]
