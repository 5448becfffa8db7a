"""Saboteurs that take for one what differs by its code points alone."""

from __future__ import annotations

import unicodedata

from openmem._generated import models

from .base import Bends, MemoryAdapter, but, plant
from .content import BendsMetadata


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


class _FoldsUsers(MemoryAdapter):
    """Keys users by something else than their id, and answers with the id that was asked for."""

    def fold(self, user_id: str) -> str:
        raise NotImplementedError

    async def handle(self, request):
        asked = getattr(request, "user_id", None)
        if asked is None:
            return await super().handle(request)
        answer = await super().handle(but(request, user_id=self.fold(asked)))
        return self._echo(answer, asked)

    def _echo(self, answer, asked):
        if isinstance(answer, models.MemoryRecord):
            return but(answer, user_id=asked)
        for each in getattr(answer, "results", None) or ():
            if each.memory is not None:
                each.memory = but(each.memory, user_id=asked)
        if isinstance(answer, models.MemoryPage):
            answer.items = [but(each, user_id=asked) for each in answer.items]
        return answer


@plant("OWN-4")
class UsersComposed(_FoldsUsers):
    def fold(self, user_id):
        return composed(user_id)


@plant("OWN-4")
class UsersWithoutAccents(_FoldsUsers):
    def fold(self, user_id):
        return "".join(each for each in unicodedata.normalize("NFD", user_id) if not unicodedata.combining(each))


@plant("IDN-3")
class ExternalIdsComposed(Bends):
    def bend(self, request):
        request.external_id = request.external_id and composed(request.external_id)
        return request


@plant("CON-4")
class TagsComposed(Bends):
    def bend(self, request):
        request.tags = request.tags and [composed(tag) for tag in request.tags]
        return request


@plant("CON-5")
class MetadataComposed(BendsMetadata):
    def value(self, value):
        return composed(value) if isinstance(value, str) else value


@plant("CON-5")
class MetadataStripped(BendsMetadata):
    def value(self, value):
        return value.strip() if isinstance(value, str) else value


@plant("SEA-2")
class SearchedTagsWithoutCase(MemoryAdapter):
    async def search(self, request):
        if request.tag is None:
            return await super().search(request)
        every = (await super().search(but(request, tag=None, limit=100))).results
        found = [each for each in every if request.tag.lower() in [tag.lower() for tag in each.memory.tags or ()]]
        return models.SearchResponse(results=found[: request.limit])
