"""Saboteurs of fidelity: what is kept is not what was given."""

from __future__ import annotations

import unicodedata
from typing import Any
from unittest import mock

import numpy as np

from openmem._generated import models
from openmem._generated.verbs import VERBS
from openmem.protocol import filters

from .base import Bends, MemoryAdapter, asking, plant


class _BendsContent(Bends):
    def text(self, content: str) -> str:
        raise NotImplementedError

    def bend(self, request):
        request.content = self.text(request.content)
        return request


@plant("CON-1")
class ContentStripped(_BendsContent):
    def text(self, content):
        return content.strip()


@plant("CON-1")
class ContentLowerCased(_BendsContent):
    def text(self, content):
        return content.lower()


@plant("CON-1")
class ContentNormalised(_BendsContent):
    def text(self, content):
        return unicodedata.normalize("NFC", content)


@plant("CON-1")
class LineBreaksUnified(_BendsContent):
    def text(self, content):
        return content.replace("\r\n", "\n")


@plant("CON-1")
class ContentInTheBasicPlane(_BendsContent):  # utf8 of three bytes
    def text(self, content):
        return "".join(char if ord(char) < 0x10000 else "?" for char in content)


@plant("CON-7")
class ContentTruncated(_BendsContent):
    def text(self, content):
        return content[:8192]


@plant("CON-1")
class UpdatedContentStripped(MemoryAdapter):
    async def update(self, request):
        if request.content is not None:
            request.content = request.content.strip()
        return await super().update(request)


class BendsMetadata(Bends):
    def value(self, value: Any) -> Any:
        raise NotImplementedError

    def deep(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.deep(item) for key, item in value.items()}
        return [self.deep(item) for item in value] if isinstance(value, list) else self.value(value)

    def bend(self, request):
        request.metadata = self.deep(request.metadata)
        return request


@plant("CON-5")
class MetadataStringified(BendsMetadata):
    def value(self, value):
        return None if value is None else str(value)


@plant("CON-5")
class UpdatedMetadataStringified(BendsMetadata):
    def bend(self, request):
        return request

    def value(self, value):
        return str(value) if isinstance(value, (int, float)) else value

    async def update(self, request):
        if request.metadata is not None:
            request.metadata = self.deep(request.metadata)
        return await super().update(request)


@plant("CON-5")
class NumbersAsFloats(BendsMetadata):
    def value(self, value):
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@plant("CON-5")
class WholeFloatsAsIntegers(BendsMetadata):
    def value(self, value):
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@plant("CON-5")
class SignOfZeroLost(BendsMetadata):  # a database of decimals
    def value(self, value):
        return 0.0 if isinstance(value, float) and value == 0 else value


@plant("CON-5")
class BooleansAsNumbers(BendsMetadata):  # SQL without booleans
    def value(self, value):
        return int(value) if isinstance(value, bool) else value


@plant("CON-5")
class NestedBooleansAsNumbers(BendsMetadata):
    def bend(self, request):
        given = request.metadata or {}
        request.metadata = {key: self.deep(v) if isinstance(v, (dict, list)) else v for key, v in given.items()}
        return request

    def value(self, value):
        return int(value) if isinstance(value, bool) else value


@plant("CON-5")
class IntegersByFloat(BendsMetadata):  # JavaScript
    def value(self, value):
        return int(float(value)) if isinstance(value, int) and not isinstance(value, bool) else value


@plant("CON-5")
class MetadataFlattened(Bends):
    def bend(self, request):
        given = request.metadata or {}
        request.metadata = {k: str(v) if isinstance(v, (dict, list)) else v for k, v in given.items()} or None
        return request


@plant("CON-5")
class NullsDropped(BendsMetadata):
    def deep(self, value):
        if isinstance(value, dict):
            return {key: self.deep(item) for key, item in value.items() if item is not None}
        return [self.deep(item) for item in value] if isinstance(value, list) else value


@plant("CON-5")
class ExtensionsDropped(Bends):
    def bend(self, request):
        return models.AddRequest.model_construct(
            **{
                name: getattr(request, name)
                for name in request.model_fields_set & models.AddRequest.model_fields.keys()
            }
        )


@plant("CON-4")
class TagsAsASet(Bends):
    def bend(self, request):
        request.tags = sorted(set(request.tags)) if request.tags else None
        return request


@plant("CON-4")
class TagsJoinedByComma(Bends):
    def bend(self, request):
        request.tags = ",".join(request.tags).split(",") if request.tags else None
        return request


@plant("CON-4")
class SinglePrecision(Bends):
    def bend(self, request):
        request.confidence = None if request.confidence is None else float(np.float32(request.confidence))
        return request


@plant("CON-4")
class ZeroIsNothing(Bends):
    def bend(self, request):
        request.confidence = request.confidence or None
        return request


@plant("CON-4")
class ProvenanceRewritten(Bends):
    def bend(self, request):
        if request.source is not None:
            request.source = models.MemorySource(app=request.source.app, type="explicit")
        return request


@plant("CON-6")
class KindsOfItsOwn(Bends):
    def bend(self, request):
        request.kind = request.kind if request.kind in (None, "fact", "preference") else "fact"
        return request


@plant("CON-3")
def broken_text_replaced():
    return mock.patch("openmem.protocol.validation.check_text", lambda name, value: None)


@plant("CON-2")
def blank_content_is_padded():
    def padded(verb, fields):
        if verb == "add" and not str(fields["content"]).strip():
            fields["content"] = "(blank)"
        return fields

    return asking(padded)


@plant("CON-8")
def integers_of_any_size():
    return mock.patch.object(filters, "is_whole", lambda value: True)


@plant("CON-8", "ERR-2")
def unknown_fields_are_dropped():
    def known(verb, fields):
        allowed = VERBS[verb].request.model_fields
        return {name: value for name, value in fields.items() if name in allowed or name.startswith("x-")}

    return asking(known)


@plant("CON-8")
def confidence_is_clamped():
    def clamped(verb, fields):
        if isinstance(fields.get("confidence"), (int, float)):
            fields["confidence"] = min(1.0, max(0.0, fields["confidence"]))
        return fields

    return asking(clamped)


@plant("CON-9")
def metadata_of_any_size():
    return mock.patch("openmem.protocol.validation.MAX_METADATA_BYTES", 10**9)
