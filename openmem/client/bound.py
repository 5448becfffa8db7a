"""The clients' views of one user, which for_user gives: every verb without user_id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._generated.clients import AsyncUserVerbs, UserVerbs
from .._generated.verbs import VERBS
from ..protocol.validation import check_user

if TYPE_CHECKING:
    from .clients import AsyncMemory, Memory


class UserMemory(UserVerbs):
    """One user's memories: every verb of Memory without user_id."""

    def __init__(self, memory: Memory, user_id: str) -> None:
        self._memory, self._user_id = memory, user_id  # which a report of the failure shows
        self._user_id = check_user(user_id)

    @property
    def user_id(self) -> str:
        """The user that every verb is bound to."""
        return self._user_id

    def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        return self._memory._call(verb, bound_fields(verb, fields, self.user_id))

    def wait_for_ingest(self, ids: Sequence[str], *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        self._memory.wait_for_ingest(ids, self.user_id, timeout=timeout)

    def __repr__(self) -> str:
        return f"{self._memory!r}.for_user({self.user_id!r})"


class AsyncUserMemory(AsyncUserVerbs):
    """One user's memories, async: every verb of AsyncMemory without user_id."""

    def __init__(self, memory: AsyncMemory, user_id: str) -> None:
        self._memory, self._user_id = memory, user_id  # which a report of the failure shows
        self._user_id = check_user(user_id)

    @property
    def user_id(self) -> str:
        """The user that every verb is bound to."""
        return self._user_id

    async def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        return await self._memory._call(verb, bound_fields(verb, fields, self.user_id))

    async def wait_for_ingest(self, ids: Sequence[str], *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        await self._memory.wait_for_ingest(ids, self.user_id, timeout=timeout)

    def __repr__(self) -> str:
        return f"{self._memory!r}.for_user({self.user_id!r})"


def bound_fields(verb: str, fields: dict[str, Any], user_id: str) -> dict[str, Any]:
    """Add the user to the fields of a verb that takes one; TypeError for a user given besides, or a verb for none."""
    if VERBS[verb].operator:
        raise TypeError(f"{verb} is for who runs the store, and no user's view has it")
    if "user_id" in fields:  # it came as an extension: the bound verbs have no such parameter
        raise TypeError(f"{verb} is bound to a user and takes no user_id")
    return {**fields, "user_id": user_id} if "user_id" in VERBS[verb].request.model_fields else fields
