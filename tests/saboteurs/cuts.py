"""Saboteurs that are right for few, short and shallow things, and wrong beyond."""

from __future__ import annotations

from openmem._generated import models
from openmem.protocol import cursors

from .base import Bends, MemoryAdapter, all_of, but, plant
from .content import BendsMetadata


@plant("CON-4")
class DuplicateTagsDropped(Bends):
    def bend(self, request):
        request.tags = request.tags and list(dict.fromkeys(request.tags))
        return request


@plant("CON-4")
class TwentyTags(Bends):
    def bend(self, request):
        request.tags = request.tags and request.tags[:20]
        return request


@plant("CON-5")
class LargeFloatsLost(BendsMetadata):
    def value(self, value):
        return 0.0 if isinstance(value, float) and abs(value) > 1e15 else value


@plant("CON-5")
class MetadataEightDeep(Bends):
    def cut(self, value, depth=0):
        if isinstance(value, dict):
            return {key: self.cut(each, depth + 1) for key, each in value.items()} if depth < 8 else None
        if isinstance(value, list):
            return [self.cut(each, depth + 1) for each in value] if depth < 8 else None
        return value

    def bend(self, request):
        request.metadata = self.cut(request.metadata)
        return request


@plant("SEA-4")
class QueriesCut(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, query=request.query and request.query[:1500]))


@plant("SUP-5")
class HistoryOfTen(MemoryAdapter):
    async def history(self, request):
        return models.HistoryResponse(items=(await super().history(request)).items[:10])


@plant("AUD-2")
class FiftyEntries(MemoryAdapter):
    async def audit(self, request):
        return await super().audit(but(request, limit=min(request.limit, 50)))


@plant("BAT-1")
class DeletesAHundred(MemoryAdapter):
    async def delete_many(self, request):
        answer = await super().delete_many(but(request, ids=request.ids[:100]))
        answer.results += [models.BatchResult(id=each) for each in request.ids[100:]]
        return answer


@plant("BAT-1")
class ListsTwoHundred(MemoryAdapter):
    async def list(self, request):
        every = (await super().list(all_of(request))).items[:200]
        after = cursors.decode(request)
        rest = [each for each in every if after is None or (each.created_at, each.id) < after]
        return cursors.page(rest[: request.limit + 1], request.limit)


@plant("LST-2")
class CursorsOfAMoment(MemoryAdapter):
    """Goes on below the moment that a page ended with, and so past the rest of that moment."""

    async def list(self, request):
        every = (await super().list(all_of(request))).items
        after = cursors.decode(request)
        rest = [each for each in every if after is None or each.created_at < after[0]]
        return cursors.page(rest[: request.limit + 1], request.limit)


class _ForgetsOnLaterPages(MemoryAdapter):
    forgotten: dict[str, None]

    async def list(self, request):
        return await super().list(but(request, **self.forgotten) if request.cursor else request)


def _planted(field: str) -> None:
    kind = type(f"LaterPagesWithout{field.title()}", (_ForgetsOnLaterPages,), {"forgotten": {field: None}})
    plant("LST-2")(kind)


for _field in ("as_of", "include", "since", "scope"):  # a page older than another is until what that one is
    _planted(_field)


class _ForgetsByMode(MemoryAdapter):
    mode: str
    forgotten: dict[str, None]

    async def search(self, request):
        return await super().search(but(request, **self.forgotten) if request.mode == self.mode else request)


def _planted_by_mode(mode: str, field: str, clause: str) -> None:
    name = f"{mode.title()}SearchWithout{field.title()}"
    plant(clause)(type(name, (_ForgetsByMode,), {"mode": mode, "forgotten": {field: None}}))


for _mode in ("keyword", "vector"):
    for _field, _clause in {"as_of": "TIM-3", "include": "TIM-4", "since": "TIM-5", "until": "TIM-5"}.items():
        _planted_by_mode(_mode, _field, _clause)
