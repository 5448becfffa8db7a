"""Saboteurs of what there is: stats of a selection, scopes, users, health."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

from openmem import AsyncMemory, Memory
from openmem._generated import models
from openmem.protocol import census, cursors, selection

from .base import MemoryAdapter, but, plant


@plant("STA-2")
class CountsWhateverIsSelected(MemoryAdapter):
    async def stats(self, request):
        return await super().stats(models.StatsRequest(user_id=request.user_id))


@plant("STA-2")
def stats_of_a_selection_are_of_the_current():
    right = selection.in_every_state

    def in_every_state(request, *limit):
        narrowed = type(request) is models.StatsRequest and selection.narrows(request)
        return but(right(request, *limit), include=None) if narrowed else right(request, *limit)

    return mock.patch.object(selection, "in_every_state", in_every_state)


@plant("STA-2")
class CountsWithoutTheFilter(MemoryAdapter):
    async def stats(self, request):
        return await super().stats(but(request, filter=None))


@plant("STA-2")
class CountsWithoutTheSession(MemoryAdapter):
    async def stats(self, request):
        return await super().stats(but(request, session=None))


@plant("SCO-7")
class ScopesInTheOrderOfLetters(MemoryAdapter):
    async def scopes(self, request):
        page = await super().scopes(request)
        return but(page, items=sorted(page.items, key=lambda each: (each.scope.lower(), each.scope)))


@plant("SCO-7")
class ScopesOfEveryState(MemoryAdapter):
    async def scopes(self, request):
        return await super().scopes(but(request, include=[*selection.STATES]))


@plant("SCO-7")
class ScopesWithAllBelow(MemoryAdapter):
    async def scopes(self, request):
        page = await super().scopes(request)
        if request.depth is not None or request.under is not None:
            return page
        within = [
            sum(each.count for each in page.items if f"{each.scope}/".startswith(f"{one.scope}/")) for one in page.items
        ]
        return but(page, items=[but(each, count=count) for each, count in zip(page.items, within, strict=True)])


@plant("SCO-8")
class UnderByLetters(MemoryAdapter):
    async def scopes(self, request):
        if request.under is None:
            return await super().scopes(request)
        every = (await super().scopes(but(request, under=None, depth=None, limit=1000))).items
        found = [(each.scope, each.count) for each in every if each.scope.startswith(request.under)]
        return census.scope_page(found, request)


@plant("SCO-8")
def depth_is_always_from_the_root():
    return mock.patch.object(census, "segments", lambda request: request.depth)


@plant("SCO-8")
class CutScopesAreCountedByTheFirst(MemoryAdapter):
    async def scopes(self, request):
        page = await super().scopes(request)
        return page if request.depth is None else but(page, items=[but(each, count=1) for each in page.items])


@plant("SCO-9")
class PagesBeginWhereTheLastEnded(MemoryAdapter):
    async def scopes(self, request):
        page = await super().scopes(request)
        before = await super().scopes(but(request, limit=request.limit - 1)) if request.limit > 1 else page
        return but(page, next_cursor=page.next_cursor and before.next_cursor)


@plant("SCO-9")
def cursors_know_neither_under_nor_depth():
    right = cursors.digest_of

    def digest_of(request):
        whole = type(request) is models.ScopesRequest
        return right(but(request, under=None, depth=None) if whole else request)

    return mock.patch.object(cursors, "digest_of", digest_of)


@plant("SCO-9")
def cursors_of_all_verbs_are_one():
    def digest_of(request):
        return request.model_dump_json(exclude={"cursor", "limit"}, exclude_defaults=True)

    return mock.patch.object(cursors, "digest_of", digest_of)


@plant("USR-1")
class UsersOfWhomNothingIsLeft(MemoryAdapter):
    async def users(self, request):
        found = sorted((user, len(index.order)) for user, index in self.store.users.items())
        after = cursors.name_in(request)
        return census.user_page([each for each in found if after is None or each[0] > after], request.limit)


@plant("USR-1")
class UsersOfCurrentMemories(MemoryAdapter):
    async def users(self, request):
        page = await super().users(request)
        items = [but(each, count=await self._current(each.user_id)) for each in page.items]
        return but(page, items=items)

    async def _current(self, user_id):
        return (await super().stats(models.StatsRequest(user_id=user_id))).current


@plant("USR-2")
class UsersBeyondAPageAreLost(MemoryAdapter):
    async def users(self, request):
        return but(await super().users(request), next_cursor=None)


@plant("USR-3")
@contextmanager
def views_name_every_user():
    def naming(right):
        def for_user(self, user_id):
            view = right(self, user_id)
            view.users = self.users
            return view

        return for_user

    with (
        mock.patch.object(Memory, "for_user", naming(Memory.for_user)),
        mock.patch.object(AsyncMemory, "for_user", naming(AsyncMemory.for_user)),
    ):
        yield


@plant("HEA-1")
class AlwaysUnwell(MemoryAdapter):
    async def health(self, request):
        return models.Health(status="up")


@plant("HEA-1")
class HealthIsLogged(MemoryAdapter):
    async def health(self, request):
        for user in list(self.store.users):
            await self.transact(lambda store, user=user: store.log(user, self.rules.entry("health")), write=True)
        return await super().health(request)
