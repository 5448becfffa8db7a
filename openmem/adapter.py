"""The base class of every backend: its verbs, what it says of itself, how it opens, closes and is told of a fork."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import SplitResult

from pydantic import BaseModel, ConfigDict, field_validator

from . import urls
from ._generated import models
from ._generated.bounds import MAX_FILTER_BYTES, MAX_FILTER_CONDITIONS, MAX_METADATA_BYTES, MAX_OFFSET_REACH
from ._generated.verbs import VERB_OF, VERBS
from .errors import UnsupportedCapabilityError
from .model import Model
from .protocol.capabilities import admits, capabilities
from .protocol.clock import Clock, utc_now
from .protocol.selection import STATES
from .runtime.bridge import Once
from .runtime.calls import noted
from .runtime.fork import in_child

Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""Texts in, one vector each out."""
CHUNK = 200
"""Memories that a scan hands over at once."""


class Settings(Model):
    """Options of an adapter; a subclass adds its own. Secrets are SecretStr."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    _is_text = field_validator("*")(urls.checked_text)

    def moved(self, name: str, move: Callable[[Path], Path]) -> Any:
        """Return the value of an option with its path moved; a subclass does so for paths within its texts."""
        value = getattr(self, name)
        return move(value) if isinstance(value, Path) else value


class Adapter:
    """One backend, async.

    A subclass overrides the verbs its backend has, each taking the verb's request model and returning its response
    model; every verb it leaves alone is unsupported or emulated. It says in `features` and `limits` what is true of
    it, and opens what it needs in `open`, never in the constructor.
    """

    name: ClassVar[str]
    """The provider's name, in capabilities and errors."""
    inline: ClassVar[bool] = False
    """True when no verb suspends while a sync caller steps it: no event loop is needed (see bridge.step)."""
    repeats: ClassVar[bool] = False
    """True when the adapter repeats its requests by itself, one by one: then no verb is repeated as a whole."""
    pages_search: ClassVar[bool] = False
    """True when search leaves out request.offset results by itself; else it is asked for them, and they are cut off."""
    snapshots: ClassVar[bool] = False
    """True when scan answers what was there at one moment, whoever writes meanwhile."""
    drivers: ClassVar[Collection[str]] = ()
    """What a scheme may have after a '+' of its own and is passed over: drivers that other libraries' URLs name."""
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        embedding: models.EmbeddingInfo | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.settings = settings or self.settings_type()
        self.embedding = embedding
        self.clock = clock
        self._opening = Once()
        in_child(self, type(self).forked)

    def __repr__(self) -> str:
        settings = vars(self).get("settings")  # which is not there yet where making it failed
        return f"{type(self).__name__}({settings.__repr_str__(', ') if settings is not None else ''})"

    def forked(self) -> None:
        """Begin anew in a child of fork, where nothing that the parent has open may be used or closed."""

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read settings out of the URL's host and path; its query is read for every adapter alike."""
        return {}

    @classmethod
    def serving(cls, url: SplitResult, options: Mapping[str, Any]) -> type[Adapter]:
        """Return the class that serves a URL of this scheme and options: this one, unless the scheme has several."""
        return cls

    @classmethod
    def embeds_itself(cls, settings: Settings) -> bool:
        """Say whether the backend makes its own vectors, so that the client needs no embedder."""
        return False

    def native_verbs(self) -> Collection[str]:
        """Name the verbs that the backend has: those the class overrides, unless a subclass knows better."""
        return [verb for verb in VERBS if verb != "capabilities" and _overrides(type(self), verb)]

    def remedies(self) -> Mapping[str, str]:
        """Say what to do for a verb that `native_verbs` leaves out of those the class overrides."""
        return {}

    def features(self) -> models.CapabilityFeatures:
        """Say what the backend supports; what is not named is not supported."""
        return models.CapabilityFeatures()

    def limits(self) -> models.CapabilityLimits:
        """Say the backend's limits."""
        return models.CapabilityLimits(
            max_search_results=100,
            max_search_reach=MAX_OFFSET_REACH if self.pages_search else None,
            max_list_results=500,
            max_batch_size=10_000,
            max_filter_conditions=MAX_FILTER_CONDITIONS,
            max_filter_bytes=MAX_FILTER_BYTES,
            max_metadata_bytes=MAX_METADATA_BYTES,
        )

    async def open(self) -> None:
        """Connect and prepare; called once before the first verb."""

    async def close(self) -> None:
        """Release everything; called once, also when open never was."""

    async def reembed(self, embed: Embed) -> int:
        """Make the vector of every memory anew; return how many there are. Called in place of open."""
        raise UnsupportedCapabilityError(
            f"{self.name} cannot be embedded anew.", remedy="Export it and import it anew."
        )

    async def scan(self, user_id: str) -> AsyncGenerator[Sequence[models.MemoryRecord], None]:
        """Walk all of a user's memories, whatever their state, oldest first, CHUNK at a time, each with its vector.

        Called once it is ready, and in nobody's name: it leaves no audit entry. Whoever may not walk it to its end
        closes it, by contextlib.aclosing. This one follows the pages of list, so `snapshots` is False.
        """
        features = self.features()
        states = {"include": [*STATES]} if features.temporal else {}
        asked = {"user_id": user_id, "limit": CHUNK, "order": "oldest", **states}
        request = models.ListRequest.model_validate({**asked, "include_vectors": bool(features.supports_vectors)})
        if not features.oldest_first:
            raise UnsupportedCapabilityError(f"{self.name} does not list from the oldest on.", provider=self.name)
        following: str | None = ""
        while following is not None:
            with noted():
                page = await self.list(request)
            if found := [memory for memory in page.items if memory.user_id == user_id]:
                yield found
            following = page.next_cursor
            request = request.model_copy(update={"cursor": following})

    @property
    def is_ready(self) -> bool:
        """Whether it was opened, in this process."""
        return self._opening.done

    async def ready(self) -> None:
        """Open unless it is open; the client does so before a verb, outside the time that a verb may take."""
        await self._opening.run(self.open)

    async def handle(self, request: BaseModel) -> Any:
        """Answer one request: the end of the stack."""
        if not self._opening.done:
            await self.ready()
        return await getattr(self, VERB_OF[type(request)].name)(request)

    async def capabilities(self, request: models.CapabilitiesRequest) -> models.Capabilities:
        """Say what this backend supports of itself."""
        remedies = self.remedies()
        extensions: dict[str, Any] = {"x-remedies": dict(remedies)} if remedies else {}
        features = self.features()
        verbs = [verb for verb in self.native_verbs() if verb not in VERBS or admits(features, verb)]
        return capabilities(self.name, verbs, features, self.limits(), **extensions)

    async def add(self, request: models.AddRequest) -> models.MemoryRecord:
        """Store one memory."""
        raise self._unsupported("add")

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        """Read one memory; NotFoundError where user_id is given and is not the owner.

        It is named by id; by external_id, as of update, delete, related and history, only where the features say that
        external_id_lookup is native.
        """
        raise self._unsupported("get")

    async def update(self, request: models.UpdateRequest) -> models.MemoryRecord:
        """Apply a merge patch: request.model_fields_set says what is given."""
        raise self._unsupported("update")

    async def delete(self, request: models.DeleteRequest) -> None:
        """Delete one memory."""
        raise self._unsupported("delete")

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page by request.order; request.cursor is the next_cursor of this adapter's own page before."""
        raise self._unsupported("list")

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Return the best matches; request.vector is set where an embedder is configured, request.mode always."""
        raise self._unsupported("search")

    async def context(self, request: models.ContextRequest) -> models.ContextBlock:
        """Write cited text within a token budget."""
        raise self._unsupported("context")

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Return who did what, most recent first."""
        raise self._unsupported("audit")

    async def add_many(self, request: models.AddManyRequest) -> models.BatchResponse:
        """Store many; the guard has made every item an AddRequest."""
        raise self._unsupported("add_many")

    async def get_many(self, request: models.GetManyRequest) -> models.BatchResponse:
        """Read many, by ids or by external_ids."""
        raise self._unsupported("get_many")

    async def update_many(self, request: models.UpdateManyRequest) -> models.BatchResponse:
        """Apply many merge patches, in order; the guard has made every item an UpdateRequest."""
        raise self._unsupported("update_many")

    async def delete_many(self, request: models.DeleteManyRequest) -> models.BatchResponse:
        """Delete many."""
        raise self._unsupported("delete_many")

    async def erase(self, request: models.EraseRequest) -> models.EraseResponse:
        """Erase what is selected, whatever its state, and all that is kept of it; only count it in a dry run."""
        raise self._unsupported("erase")

    async def related(self, request: models.RelatedRequest) -> models.SearchResponse:
        """Return the nearest memories of the same user."""
        raise self._unsupported("related")

    async def history(self, request: models.HistoryRequest) -> models.HistoryResponse:
        """Return the supersession chain, oldest first."""
        raise self._unsupported("history")

    async def stats(self, request: models.StatsRequest) -> models.Stats:
        """Count one user's memories, or those of them that are selected, in every state."""
        raise self._unsupported("stats")

    async def scopes(self, request: models.ScopesRequest) -> models.ScopePage:
        """Return one page of scopes; request.cursor is the next_cursor of this adapter's own page before."""
        raise self._unsupported("scopes")

    async def users(self, request: models.UsersRequest) -> models.UserPage:
        """Return one page of the users that have memories; request.cursor is as in scopes."""
        raise self._unsupported("users")

    async def health(self, request: models.HealthRequest) -> models.Health:
        """Reach the engine, read something there, and say which it is; the client bounds it in time."""
        raise self._unsupported("health")

    async def remember(self, request: models.RememberRequest) -> models.RememberResponse:
        """Extract facts from a conversation and store them."""
        raise self._unsupported("remember")

    def _unsupported(self, verb: str) -> UnsupportedCapabilityError:
        return UnsupportedCapabilityError(f"{self.name} has no {verb}.", provider=self.name)


def _overrides(cls: type[Adapter], verb: str) -> bool:
    return getattr(cls, verb) is not getattr(Adapter, verb)
