"""Durability: what was acknowledged outlives every client, and other clients see it at once."""

from __future__ import annotations

from typing import Any

from openmem.embedding.testing import WordEmbedder
from openmem.errors import ConfigurationError, NotFoundError, OMPError

from ..check import check
from ..harness import Client, Harness
from ..verdicts import Failure, whole
from ._shared import crowd, declared, found, longest, modes, most, rich
from .content import TYPED, labels, same, verbatim

DURABLE = ("durable",)


async def _ids(h: Harness, client: Client) -> list[str]:
    return h.ids(await client.list(h.user))


def _lasting(h: Harness, word: str) -> list[dict[str, Any]]:
    """Make records that a store may bend as it writes or reads them."""
    features = declared(h)
    items: list[dict[str, Any]] = [{"content": f"{word} {text}"} for text in verbatim(h)]
    items += [{"content": f"{word} rich", **rich(h)}, {"content": f"{word} tagged", "tags": labels(h)}]
    if "supports_metadata" in features:
        items.append({"content": f"{word} typed", "metadata": TYPED, "x-conformance": TYPED})
    if "supports_archive" in features:
        items.append({"content": f"{word} archived", "archived": True})
    return [{**item, "content": item["content"][: longest(h, len(item["content"]))]} for item in items]


@check("DUR-1", "records outlive every client", requires=DURABLE)
async def records_outlive_clients(h: Harness) -> None:
    """Add records of every kind, and read them by every read once all clients are closed and opened again."""
    word = h.marker()
    items = _lasting(h, word)
    records = await h.seed(items)
    if "add_many" in h.capabilities.verbs:
        batch = await crowd(h, [{"content": f"{word} in a batch {place}"} for place in range(4)])
        records += [await h.memory.get(each, user_id=h.user) for each in batch]
    before = [await h.memory.get(record.id, user_id=h.user) for record in records]
    await h.reopen()
    for record in before:
        after = await h.memory.get(record.id, user_id=h.user)
        kept = same(after.model_dump(mode="json"), record.model_dump(mode="json"))
        h.require(kept, f"reopened, {whole(record)} reads as {whole(after)}")
    ids, current = h.ids(before), [record.id for record in before if not record.archived]
    h.expect(await h.all_ids(), current, among=ids, what="list", all_expected=current == ids)
    for mode in modes(h):
        results = await found(h, word, mode=mode)
        if len(current) <= most(h):
            h.expect(results, current, among=ids, what=f"{mode} search", all_expected=current == ids)
        else:
            h.require(len({*results} & {*current}) == most(h), f"{mode} search found {results}")


@check("DUR-1", "changes and versions outlive every client", requires=(*DURABLE, "update"))
async def changes_outlive_clients(h: Harness) -> None:
    """Update a record, reopen, and update it again."""
    old, new = h.marker(), h.marker()
    record = await h.add(old)
    changed = await h.memory.update(record.id, user_id=h.user, content=new, kind="changed")
    await h.reopen()
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored == changed, f"reopened, {whole(changed)} reads as {whole(stored)}")
    again = await h.memory.update(record.id, user_id=h.user, kind="again")
    h.require(again.version == (changed.version or 1) + 1, f"version {again.version} follows {changed.version}.")


@check("DUR-1", "links outlive every client", requires=(*DURABLE, "supports_supersession", "history"))
async def links_outlive_clients(h: Harness) -> None:
    """Supersede a record, reopen, walk the chain and free what was superseded."""
    old = await h.add(h.marker())
    new = await h.add(h.marker(), supersedes=[old.id])
    await h.reopen()
    stored = await h.memory.get(old.id, user_id=h.user)
    h.require(stored.superseded_by == new.id, f"superseded_by is {stored.superseded_by}, not {new.id}.")
    h.expect(await h.all_ids(), [new.id], among=[old.id, new.id], what="list")
    history = h.ids(await h.memory.history(old.id, user_id=h.user))
    h.require(history == [old.id, new.id], f"history is {history}.")
    await h.memory.delete(new.id, user_id=h.user)
    h.expect(await h.all_ids(), [old.id], among=[old.id, new.id], what="list of what was freed")


@check("DUR-1", "external ids outlive every client", requires=(*DURABLE, "supports_external_id"))
async def external_ids_outlive_clients(h: Harness) -> None:
    """Add by external_id, reopen, and add by it again."""
    record = await h.add(h.marker(), external_id=h.own("key"))
    await h.reopen()
    again = await h.add(h.marker(), external_id=h.own("key"))
    h.require(again.id == record.id, "the external_id was forgotten: another record was made.")
    h.require(await h.all_ids() == [record.id], "list has another record.")


@check("DUR-1", "the audit log outlives every client", requires=(*DURABLE, "audit", "supports_audit"))
async def log_outlives_clients(h: Harness) -> None:
    """Add, read and delete a record, reopen, and read the log."""
    record = await h.memory.add(h.marker(), h.user)
    await h.memory.get(record.id, user_id=h.user)
    await h.memory.delete(record.id, user_id=h.user)
    await h.reopen()
    actions = [entry.action for entry in await h.memory.audit(h.user) if entry.memory_id == record.id]
    h.require(actions == ["delete", "get", "add"], f"the log has {actions}.")


@check("DUR-2", "what was deleted stays deleted", requires=DURABLE)
async def deletions_outlive_clients(h: Harness) -> None:
    """Delete some records one by one and, where it is offered, in a batch; reopen and look for them."""
    word = h.marker()
    ids = h.ids(await h.seed([{"content": f"{word} {number}"} for number in range(5)]))
    gone = ids[1:]
    for each in ids[1:3]:
        await h.memory.delete(each, user_id=h.user)
    if "delete_many" in h.capabilities.verbs:
        await h.memory.delete_many(ids[3:], user_id=h.user)
    else:
        gone = ids[1:3]
    left = [each for each in ids if each not in gone]
    await h.reopen()
    h.expect(await h.all_ids(), left, among=ids, what="list")
    h.expect(await found(h, word), left, among=ids, what="search")
    for each in gone:
        await h.refused(h.memory.get(each, user_id=h.user), NotFoundError)
        await h.refused(h.memory.delete(each, user_id=h.user), NotFoundError)


@check("DUR-3", "another client sees at once what one adds and deletes", requires=DURABLE)
async def clients_see_each_other(h: Harness) -> None:
    """Open a second client, let each write, and read by the other."""
    word = h.marker()
    kept = await h.add(f"{word} kept")
    async with h.second() as other:
        h.require(await _ids(h, other) == [kept.id], "a second client does not list what is there.")
        record = await h.add(f"{word} first")
        mine, theirs = [await each.get(record.id, user_id=h.user) for each in (h.memory, other)]
        h.require(mine == theirs, f"two clients read {whole(mine)} and {whole(theirs)}")
        both = [record.id, kept.id]
        h.expect(await _ids(h, other), both, among=both, what="list of the other", all_expected=True)
        results = h.ids(await other.search(word, h.user))
        h.expect(results, both, among=both, what="search of the other", all_expected=True)
        made = await other.add(f"{word} second", h.user)
        await other.wait_for_ingest([made.id], h.user)
        every = [made.id, *both]
        h.expect(await h.all_ids(), every, among=every, what="list", all_expected=True)
        await other.delete(record.id, user_id=h.user)
        await h.memory.delete(made.id, user_id=h.user)
        for client in (h.memory, other):
            for each in (record.id, made.id):
                await h.refused(client.get(each, user_id=h.user), NotFoundError)
            h.expect(await _ids(h, client), [kept.id], among=every, what="list after the deletes")
            h.expect(h.ids(await client.search(word, h.user)), [kept.id], among=every, what="search after them")


@check("DUR-3", "another client sees at once what one changes", requires=(*DURABLE, "update"))
async def clients_see_changes(h: Harness) -> None:
    """Update a record by two clients in turn."""
    record = await h.add(h.marker())
    async with h.second() as other:
        await other.get(record.id, user_id=h.user)
        changed = await h.memory.update(record.id, user_id=h.user, content=h.marker(), tags=[h.own("one")])
        h.require(await other.get(record.id, user_id=h.user) == changed, "the other client reads what was before.")
        again = await other.update(record.id, user_id=h.user, kind="changed")
        h.require(again.version == (changed.version or 1) + 1, f"version {again.version} follows {changed.version}.")
        h.require(
            (again.content, again.tags) == (changed.content, [h.own("one")]),
            f"the first change is lost: {whole(again)}",
        )
        h.require(await h.memory.get(record.id, user_id=h.user) == again, "the first client reads what was before.")


class _Other(WordEmbedder):
    """An embedder whose vectors are not those of the store, be they of the same length or of another."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension=dimension)
        self.model = f"conformance-other-{dimension}"


@check("DUR-4", "a store of one embedding is refused to a client of another", requires=(*DURABLE, "vector_search"))
async def another_embedding_is_refused(h: Harness) -> None:
    """Reopen a store with memories by embedders of another model, of the same and of another dimension; read on."""
    record = await h.add(h.marker())
    before = await h.memory.get(record.id, user_id=h.user)
    held = h.capabilities.features.embedding
    dimension = held.dimension if held else 8
    for other in (_Other(dimension), _Other(dimension + 1)):
        async with h.closed():
            error = await _refusal(h, other)
        if h.lends_embedder:  # else the backend's own makes the vectors, and none is taken beside it
            named = [model for model in (held and held.model, other.model) if not model or model not in str(error)]
            h.require(not named, f"the refusal does not name {named}: {error}")
    h.require(await h.memory.get(record.id, user_id=h.user) == before, "the refused client changed the record.")
    h.require(await found(h, record.content) == [record.id], "the record is not found after the refusal.")


async def _refusal(h: Harness, embedder: WordEmbedder) -> ConfigurationError:
    """Open a client with an embedder and return why that is refused."""
    told = {"expected": f"a ConfigurationError for the embedder {embedder.model}"}
    try:
        async with h.second(embedder=embedder) as client:
            await client.list(h.user)
    except ConfigurationError as error:
        return error
    except OMPError as error:
        message = f"another embedder is refused with {type(error).__name__}: {error}"
        raise Failure(message, **told, got=f"{type(error).__name__}: {error}") from error
    raise Failure("a store with memories is opened by another embedder.", **told, got="a client that reads the store")
