"""Where a client's configuration comes from: arguments over OPENMEM_* variables over an openmem.toml profile."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from pydantic import ConfigDict, Field, SecretStr, ValidationError, field_validator

from .. import urls
from ..adapter import Adapter, Settings
from ..errors import ConfigurationError, OMPError
from ..model import Model
from ..registry import adapter_class
from ..runtime.frames import without_locals
from . import environment
from .constructors import openai_key, translated
from .profiles import FILE, expanded, read_profile

if TYPE_CHECKING:
    from .. import embedding

_BACKEND = {"url", "provider"}
_FILE, _VARIABLE, _ARGUMENT = range(3)  # where an option was given: the later wins
_WHERE = {"host", "hostaddr", "port", "user"}
"""Where a backend is and who asks: as the place says that names the backend, or an argument."""
_RIGHTS = {"password", "sslpassword", "api_key"}
"""With what right: a variable also completes what names no user."""
_PARTS = {"dbname", "service", "passfile", "sslcert", "sslkey", "replica_url"}
"""What belongs to one backend besides: of no place farther than the one that names the backend."""


class ClientOptions(Model):
    """Options that every backend takes; the clients' constructors name them too."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    embedder: Any = "auto"
    """'auto', 'local', 'none', 'test', 'openai:MODEL' or an Embedder."""
    embedder_url: str | None = Field(default=None, repr=False)  # it may hold a password
    embedder_api_key: SecretStr | None = None
    embedder_dimension: int | None = Field(default=None, ge=1)
    embedder_batch: int | None = Field(default=None, ge=1)
    """Texts in one request to the embedder; fewer where its endpoint takes fewer."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one attempt at a remote provider."""
    retries: int = Field(default=2, ge=0, le=10)

    _is_text = field_validator("*")(urls.checked_text)

    def make_embedder(self) -> embedding.Embedder | None:
        """Make the embedder these options name; None where there is to be none. Raises ConfigurationError."""
        from .. import embedding  # most commands configure a client without making one

        options = {name: getattr(self, name) for name in embedding.OPTIONS}
        return embedding.resolve(self.embedder, timeout=self.timeout, **options)


@dataclass(frozen=True)
class Configuration:
    """What a client is made from. safe_url has its secrets replaced and may be shown."""

    adapter: type[Adapter]
    settings: Settings
    options: ClientOptions
    safe_url: str

    def __repr__(self) -> str:
        return f"Configuration({self.safe_url!r})"

    def make_embedder(self) -> embedding.Embedder | None:
        """Make the embedder that these options name; None where the backend has its own. Raises ConfigurationError."""
        if not self.adapter.embeds_itself(self.settings):
            return self.options.make_embedder()
        return None


@without_locals
def resolve(
    target: str | None = None, /, *, url: str | None = None, profile: str | None = None, **options: Any
) -> Configuration:
    """Gather and validate the configuration; nothing is opened. target: a URL, or the name of a provider.

    Raises ConfigurationError for an unknown option, naming the near miss, and where nothing says which backend.
    """
    given = translated(target, url, options)
    variables = environment.variables()
    named = given.keys() & _BACKEND or variables.keys() & _BACKEND
    if profile is None and not named:
        profile = os.environ.get(f"{environment.PREFIX}PROFILE") or None
    stored, folder = read_profile(profile) if profile is not None or not named else ({}, None)
    if options.get("use_openai"):
        given |= openai_key(stored, variables, given)
    return _Gathered([stored, variables, given], folder).configuration()


def client_options(options: Mapping[str, Any], adapter: type[Adapter]) -> ClientOptions:
    """Validate the options that every backend takes, for an adapter that was made by hand."""
    for name in options:
        if name in adapter.settings_type.model_fields.keys() - ClientOptions.model_fields.keys():
            raise ConfigurationError(
                f"'{name}' is an option of the adapter, which is made already.",
                remedy=f"Give it to {adapter.settings_type.__name__}, from which {adapter.__name__} is made.",
            )
        if name not in ClientOptions.model_fields:
            raise _unknown(f"option '{name}'", name, [*ClientOptions.model_fields], "a client of an adapter")
    validated: ClientOptions = _validated(ClientOptions, options, {})
    return validated


@dataclass
class _Gathered:
    """What was given, by layer: in the file, in the environment, as arguments. folder: that of the file."""

    layers: Sequence[Mapping[str, Any]]
    folder: Path | None
    values: dict[str, Any] = field(default_factory=dict)
    """The option's value that counts."""
    places: dict[str, int] = field(default_factory=dict)
    """The layer it came from."""
    queried: Collection[str] = ()
    """Options of the URL's query."""

    def __post_init__(self) -> None:
        for place, layer in enumerate(self.layers):
            for name in layer.keys() - _BACKEND:
                self.values[name], self.places[name] = layer[name], place

    def configuration(self) -> Configuration:
        """Make the configuration."""
        place, url, provider = self._backend()
        split = urls.split(url)
        query = urls.options(split)
        adapter = _serving(provider, split, {**self.layers[place], **self.layers[_ARGUMENT], **query})
        told = _told(adapter, split)
        self._unmix(place, {**told, **query}, adapter)
        self._take_url(place, told, query)
        self._check_names(adapter, split)
        own = {name: value for name, value in self.values.items() if name not in ClientOptions.model_fields}
        settings: Settings = _validated(adapter.settings_type, own, self.places)
        self._suit_embedder(adapter, settings)
        common = {name: value for name, value in self.values.items() if name not in own}
        options: ClientOptions = _validated(ClientOptions, common, self.places)
        return Configuration(adapter, self._placed(settings), options, urls.redact(url.strip()))

    def _backend(self) -> tuple[int, str, str | None]:
        """Find the nearest layer that names a backend: one is not mixed of two."""
        place = next((each for each in (_ARGUMENT, _VARIABLE, _FILE) if self.layers[each].keys() & _BACKEND), None)
        if place is None:
            environment.warn_of_near_misses(self.layers[_VARIABLE], _BACKEND)
            remedy = f"Give a URL such as 'memory://', set {environment.variable('url')}, or write a profile in {FILE}."
            raise ConfigurationError("no backend is named.", remedy=remedy)
        found = {name: self.layers[place].get(name) for name in _BACKEND}
        for name, value in found.items():
            if not isinstance(value, str | None):
                raise ConfigurationError(f"'{name}' is {type(value).__name__}, not text.")
        url, provider = found["url"], found["provider"]
        return place, url if url is not None else f"{provider}://", provider

    def _unmix(self, place: int, said: Collection[str], adapter: type[Adapter]) -> None:
        """Drop what another place than the one that names the backend says of where it is; said: by the URL."""
        user = "user" in said or self.places.get("user") in (place, _ARGUMENT)
        for name in self.values.keys() & (_WHERE | _RIGHTS | _PARTS):
            other = self.places[name]
            if other in (place, _ARGUMENT) or (other > place and name not in _WHERE):
                continue
            if other == _VARIABLE and name in _RIGHTS and not user:
                continue
            known = name in adapter.settings_type.model_fields
            if other == _VARIABLE and known and (other > place or name not in _WHERE):
                why = "the URL says it" if name in said else "the backend is named elsewhere"
                environment.warn_of_unused(name, why)
            del self.values[name], self.places[name]
            if name in self.layers[place]:
                self.values[name], self.places[name] = self.layers[place][name], place

    def _take_url(self, place: int, told: Mapping[str, Any], query: Mapping[str, str]) -> None:
        """Add the URL's options to the layer that it is of; refuse what that says twice. told: before its query."""
        for name, value in _merged(told, query):
            other = self.places.get(name, -1)
            if other == place or (other > place and name in told and other == _ARGUMENT):
                raise ConfigurationError(f"'{name}' is given by the URL and again.", remedy="Give it once.")
            if other > place and name not in told:
                continue
            if other > place:
                environment.warn_of_unused(name, "the URL says it")
            self.values[name], self.places[name] = value, place
        self.queried = query.keys()

    def _check_names(self, adapter: type[Adapter], url: SplitResult) -> None:
        """Refuse unknown options; variables of that kind are somebody else's."""
        known = [*adapter.settings_type.model_fields, *ClientOptions.model_fields]
        unknown = [name for name in self.values if name not in known]
        foreign = [name for name in unknown if self.places[name] == _VARIABLE]
        environment.warn_of_near_misses(foreign, {*known, *_BACKEND})
        for name in foreign:
            del self.values[name]
        for name in unknown:
            if name not in foreign:
                quoted = name not in self.queried or urls.is_tellable(url, name)
                what = f"option '{name}'" if quoted else "option in the URL"
                raise _unknown(what, name, known, adapter.name)

    def _suit_embedder(self, adapter: type[Adapter], settings: Settings) -> None:
        """Refuse options that the embedder does not take; drop those of a place that does not know of it."""
        from .. import embedding  # some commands read a configuration and make no client

        spec, named = self.values.get("embedder", "auto"), self.places.get("embedder", -1)
        own = adapter.embeds_itself(settings)
        if own and spec not in ("auto", "none"):
            raise ConfigurationError(
                f"{adapter.name} makes its own vectors.", remedy=_correction("embedder", named) or "Leave embedder out."
            )
        if not own and embedding.takes_options(spec):
            return
        for name in [each for each in embedding.OPTIONS if each in self.values]:
            place = self.places[name]
            if place in (named, _ARGUMENT) or named < place != _VARIABLE:
                whose = f"{adapter.name}, which makes its own vectors" if own else "the embedder"
                other = "." if own else ", or choose embedder='openai:MODEL', which takes it."
                remedy = f"Leave it out{other} {_correction(name, place)}".strip()
                raise ConfigurationError(f"'{name}' is not an option of {whose}.", remedy=remedy)
            if place == _VARIABLE:
                environment.warn_of_unused(name, "the embedder does not take it")
            del self.values[name]

    def _placed(self, settings: Settings) -> Settings:
        """Let ~ be the home folder, and relative paths of a file begin in its folder."""

        def moved(path: Path, *, stored: bool) -> Path:
            path = expanded(path)
            return self.folder / path if self.folder and stored else path

        given = [name for name in type(settings).model_fields if name in self.places]
        values = {name: settings.moved(name, partial(moved, stored=self.places[name] == _FILE)) for name in given}
        return settings.model_copy(update=values)


def _serving(provider: str | None, url: SplitResult, options: Mapping[str, Any]) -> type[Adapter]:
    """Load the adapter that provider and URL name; refuse two that differ."""
    family = adapter_class(provider or url.scheme)
    adapter = family.serving(url, options)
    if provider is None or url.scheme == provider:
        return adapter
    if url.scheme in ("http", "https"):
        if "host" in adapter.settings_type.model_fields:
            return adapter
    elif adapter_class(url.scheme) is family:
        return adapter
    remedy = "Give the URL alone, or the provider with its options and no URL."
    raise ConfigurationError(f"the URL is not one of the provider {provider}.", remedy=remedy)


def _told(adapter: type[Adapter], url: SplitResult) -> dict[str, Any]:
    """Read what the URL says outside of its query."""
    try:
        return adapter.options_from_url(url)
    except ConfigurationError:
        raise
    except ValueError:  # which may quote it, and so is not passed on even as a context
        pass
    raise ConfigurationError(f"the URL is not as {adapter.name} reads it.", remedy=urls.ENCODE)


def _merged(told: Mapping[str, Any], query: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name in told.keys() & query.keys():
        raise ConfigurationError(f"'{name}' is given twice by the URL.", remedy="Give it once.")
    yield from told.items()
    yield from query.items()


def _unknown(what: str, name: str, known: Sequence[str], whose: str) -> ConfigurationError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"Did you mean '{near[0]}'? Else leave it out. " if near else "Leave it out. "
    return ConfigurationError(f"unknown {what} for {whose}.", remedy=f"{hint}Options: {', '.join(sorted(known))}.")


def _validated(model: type[Any], values: Mapping[str, Any], places: Mapping[str, int]) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:  # which quotes the value, and so is not passed on even as a context
        first = error.errors(include_url=False, include_input=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, OMPError):  # by a validator of the settings, and the remedy is its own
        raise cause from None
    name = str(first["loc"][0]) if first["loc"] else ""
    where = f"option '{'.'.join(str(part) for part in first['loc'])}': " if first["loc"] else ""
    raise ConfigurationError(f"{where}{first['msg']}.", remedy=_correction(name, places.get(name, _ARGUMENT)))


def _correction(name: str, place: int) -> str:
    """Say where an option is to be corrected that stands elsewhere than in the code."""
    remedies = {_FILE: f"Correct it in {FILE}.", _VARIABLE: f"Correct the variable {environment.variable(name)}."}
    return remedies.get(place, "")
