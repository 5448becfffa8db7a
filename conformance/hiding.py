"""Takes secrets out of what is reported, which may quote a vendor's words, and those may quote anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit

from pydantic import BaseModel, SecretStr

from openmem import config
from openmem.urls import redact

Target = str | Callable[..., Any]


def hider(target: Target, options: Mapping[str, Any]) -> Callable[[str], str]:
    """Make the function that takes the secrets of a target out of a message: of its URL, its options and settings."""
    secrets = {*_given(target, options), *_configured(target, options)}
    forms = {form(secret) for secret in secrets for form in (str, quote, quote_plus, unquote)} - {""}

    def hide(message: str) -> str:
        for form in sorted(forms, key=len, reverse=True):
            message = message.replace(form, "***")
        return message

    return hide


def _given(target: Target, options: Mapping[str, Any]) -> Iterator[str]:
    """Read those of the URL and the options, also of ones that are refused."""
    pairs = [(name, value) for name, value in options.items() if isinstance(value, str)]
    if isinstance(target, str):
        with suppress(ValueError):  # a URL that cannot be read is refused without being quoted
            pairs += parse_qsl(urlsplit(target).query)
        yield from _password(target)
    for name, value in pairs:
        if redact("?" + urlencode({name: value})).endswith("=***"):
            yield value


def _configured(target: Target, options: Mapping[str, Any]) -> Iterator[str]:
    """Read those that come of variables and profiles too."""
    if isinstance(target, str):
        with suppress(Exception):  # why it cannot be configured is the run's to tell
            chosen = config.resolve(target, **options)
            yield from _kept(chosen.settings)
            yield from _kept(chosen.options)


def _kept(settings: BaseModel) -> Iterator[str]:
    for _, value in settings:
        if isinstance(value, BaseModel):
            yield from _kept(value)
        elif isinstance(value, SecretStr):
            yield value.get_secret_value()
            yield from _password(value.get_secret_value())
        elif isinstance(value, str):
            yield from _password(value)


def _password(url: str) -> Iterator[str]:
    with suppress(ValueError):
        yield urlsplit(url).password or ""
