"""Capabilities: what is declared is there, what is not is refused."""

from __future__ import annotations

from openmem._generated.verbs import VERBS
from openmem.errors import OMPError, UnsupportedCapabilityError

from ..check import check
from ..harness import Harness
from ..probes import PROBES, declared, probe
from ._shared import modes

CORE_VERBS = ("add", "search", "get", "delete", "list")


@check("CAP-1", "capabilities name version, provider, verbs and features")
async def are_complete(h: Harness) -> None:
    """Ask for the capabilities and look at each part."""
    capabilities = await h.memory.capabilities()
    h.require(capabilities.omp_version.partition(".")[0].isdigit(), f"omp_version is {capabilities.omp_version!r}")
    h.require(capabilities.provider.strip(), "the provider has no name")
    missing = [verb for verb in CORE_VERBS if verb not in capabilities.verbs]
    h.require(not missing, f"the core verbs {missing} are not declared")
    unknown = [verb for verb in capabilities.verbs if verb not in VERBS]
    h.require(not unknown, f"{unknown} are no verbs")
    h.require(modes(h), "no mode of search is declared")
    audited = "audit" in capabilities.verbs
    h.require(audited == bool(capabilities.features.supports_audit), "audit is a verb or a feature, and not both")


@check("CAP-1", "capabilities stay the same and are the caller's own")
async def are_stable(h: Harness) -> None:
    """Ask twice, changing the first answer."""
    first = await h.memory.capabilities()
    before = first.model_dump()
    first.verbs.clear()
    h.require((await h.memory.capabilities()).model_dump() == before, "capabilities changed between two calls")


@check("CAP-2", "every declared verb answers or says why it cannot")
async def declared_verbs_answer(h: Harness) -> None:
    """Call each declared verb once, plainly."""
    record, gone = await h.add(h.own("fact")), await h.add(h.own("goes"))
    calls = {
        "add": lambda: h.memory.add(h.own("another"), h.user),
        "get": lambda: h.memory.get(record.id, user_id=h.user),
        "update": lambda: h.memory.update(record.id, user_id=h.user, content=h.own("changed")),
        "delete": lambda: h.memory.delete(gone.id, user_id=h.user),
        "list": lambda: h.memory.list(h.user),
        "search": lambda: h.memory.search("fact", h.user),
        "context": lambda: h.memory.context("fact", h.user),
        "audit": lambda: h.memory.audit(h.user),
        "add_many": lambda: h.memory.add_many([{"content": h.own("one of many")}], user_id=h.user),
        "get_many": lambda: h.memory.get_many([record.id], user_id=h.user),
        "update_many": lambda: h.memory.update_many([{"id": record.id, "content": h.own("new")}], user_id=h.user),
        "delete_many": lambda: h.memory.delete_many([record.id], user_id=h.user),
        "related": lambda: h.memory.related(record.id, user_id=h.user),
        "history": lambda: h.memory.history(record.id, user_id=h.user),
        "stats": lambda: h.memory.stats(h.user),
        "scopes": lambda: h.memory.scopes(h.user),
        "users": lambda: h.memory.users(),
        "health": lambda: h.memory.health(),
        "remember": lambda: h.memory.remember([{"role": "user", "content": "I moved to Oslo."}], h.user),
    }
    order = [verb for verb in calls if verb != "delete_many"] + ["delete_many"]
    for verb in order:
        if verb in h.capabilities.verbs:
            try:
                await calls[verb]()
            except UnsupportedCapabilityError as error:
                h.require(False, f"{verb} is declared and refused: {error}")


@check("CAP-3", "what is not declared is unsupported, and refused before the backend is asked")
async def undeclared_is_refused(h: Harness) -> None:
    """Ask for each verb and feature that is not declared."""
    faults = [await probe(need, h) for need in PROBES if not declared(need, h.capabilities)]
    h.require(not any(faults), "; ".join(filter(None, faults)))
    h.require(await h.all_ids() == [], "something unsupported stored a record")


@check("CAP-3", "emulated verbs are declared as such")
async def emulated_verbs_are_named(h: Harness) -> None:
    """Compare the verbs that the raw adapter has with those declared."""
    native = (await h.native()).verbs
    unknown = [verb for verb in native if verb not in VERBS]
    h.require(not unknown, f"{unknown} are no verbs of the protocol")
    emulated = set(h.capabilities.emulated or ())
    h.require(emulated.isdisjoint(native), f"{emulated & set(native)} are native and declared as emulated")
    unexplained = set(h.capabilities.verbs) - set(native) - emulated
    h.require(not unexplained, f"{unexplained} are neither native nor emulated")


@check("CAP-4", "vector search and the embedding are declared together")
async def the_embedding_is_declared(h: Harness) -> None:
    """Hold the search features against the declared embedding."""
    features = h.capabilities.features
    h.require(features.vector_search or not features.supports_vectors, "vectors are taken that no search can use")
    if features.vector_search:
        model = features.embedding and features.embedding.model
        h.require(model, "vector search is declared without a model and dimension")
        record = await h.add(h.own("fact"))
        h.require(record.embedding_model in (None, model), f"the model is {record.embedding_model!r}, not {model!r}")
    else:
        h.require(not features.hybrid_search, "hybrid search is declared without vector search")
        h.require(features.keyword_search, "neither vector nor keyword search is declared")
        error = await h.refused(h.memory.search("fact", h.user, mode="vector"), UnsupportedCapabilityError)
        h.require("keyword" in str(error), f"the refusal does not name what there is: {error}")


@check("CAP-2", "declared limits are accepted and what is above is refused")
async def limits_are_true(h: Harness) -> None:
    """Search and list with the highest declared limits, and above the protocol's."""
    limits = h.capabilities.limits
    record = await h.add(h.own("fact"))
    most = min(100, (limits and limits.max_search_results) or 100)
    h.require(h.ids(await h.memory.search("fact", h.user, limit=most)) == [record.id], "search at the limit")
    most = min(500, (limits and limits.max_list_results) or 500)
    h.require(h.ids(await h.memory.list(h.user, limit=most)) == [record.id], "list at the limit")
    await h.refused(h.memory.search("fact", h.user, limit=101), OMPError)
    await h.refused(h.memory.list(h.user, limit=501), OMPError)
