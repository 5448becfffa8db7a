"""Where a client's configuration comes from: arguments over OPENMEM_* variables over an openmem.toml profile."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from . import environment, urls
from .adapter import Adapter, Settings
from .constructors import translated
from .errors import ConfigurationError
from .profiles import FILE, expanded, read_profile
from .registry import adapter_class

if TYPE_CHECKING:
    from . import embedding

_BACKEND = {"url", "provider"}
_FILE, _VARIABLE, _ARGUMENT = range(3)  # where an option was given: the later wins


class ClientOptions(BaseModel):
    """Options that every backend takes; the clients' constructors name them too."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

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

    def make_embedder(self) -> embedding.Embedder | None:
        """Make the embedder these options name; None where there is to be none. Raises ConfigurationError."""
        from . import embedding  # most commands configure a client without making one

        options = {name: getattr(self, name) for name in embedding.OPTIONS}
        return embedding.resolve(self.embedder, timeout=self.timeout, **options)


@dataclass(frozen=True)
class Configuration:
    """What a client is made from. safe_url has its secrets replaced and may be shown."""

    adapter: type[Adapter]
    settings: Settings
    options: ClientOptions
    safe_url: str

    def make_embedder(self) -> embedding.Embedder | None:
        """Make the embedder that these options name; None where the backend has its own. Raises ConfigurationError."""
        if not self.adapter.embeds_itself(self.settings):
            return self.options.make_embedder()
        if self.options.embedder not in ("auto", "none"):
            raise ConfigurationError(f"{self.adapter.name} makes its own vectors.", remedy="Leave embedder out.")
        return None


def resolve(
    target: str | None = None, /, *, url: str | None = None, profile: str | None = None, **options: Any
) -> Configuration:
    """Gather and validate the configuration; nothing is opened. target: a URL, or the name of a provider.

    Raises ConfigurationError for an unknown option, naming the near miss, and where nothing says which backend.
    """
    given = translated(target, url, options)
    variables = environment.variables()
    named = given.keys() & _BACKEND or variables.keys() & _BACKEND
    profile = profile or (None if named else os.environ.get(f"{environment.PREFIX}PROFILE"))
    stored, folder = read_profile(profile) if profile or not named else ({}, None)
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
        adapter = adapter_class(provider or split.scheme).serving(split, {**self.values, **urls.options(split)})
        self._take_url(place, split, adapter)
        self._check_names(adapter, split)
        common = {name: self.values.pop(name) for name in ClientOptions.model_fields if name in self.values}
        options: ClientOptions = _validated(ClientOptions, common, self.places)
        settings: Settings = _validated(adapter.settings_type, self.values, self.places)
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

    def _take_url(self, place: int, url: SplitResult, adapter: type[Adapter]) -> None:
        """Add the URL's options to the layer that it is of; refuse what that says twice."""
        query = urls.options(url)
        told = _told(adapter, url)
        for name, value in _merged(told, query):
            other = self.places.get(name, -1)
            if other == place or (other > place and name in told and other == _ARGUMENT):
                raise ConfigurationError(f"'{name}' is given by the URL and again.", remedy="Give it once.")
            if other > place and name not in told:
                continue
            if other > place:
                environment.warn_of_overruled(name)
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

    def _placed(self, settings: Settings) -> Settings:
        """Let ~ be the home folder, and relative paths of a file begin in its folder."""
        moved = {}
        for name, value in settings:
            if isinstance(value, Path) and name in self.places:
                path = expanded(value)
                moved[name] = self.folder / path if self.folder and self.places[name] == _FILE else path
        return settings.model_copy(update=moved) if moved else settings


def _told(adapter: type[Adapter], url: SplitResult) -> dict[str, Any]:
    """Read what the URL says outside of its query."""
    try:
        return adapter.options_from_url(url)
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
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    where = f"option '{'.'.join(str(part) for part in first['loc'])}': " if first["loc"] else ""
    remedy = {_FILE: f"Correct it in {FILE}.", _VARIABLE: f"Correct the variable {environment.variable(name)}."}
    raise ConfigurationError(f"{where}{first['msg']}.", remedy=remedy.get(places.get(name, _ARGUMENT), ""))
