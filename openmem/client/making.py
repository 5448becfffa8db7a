"""How a client is made, of a configuration or an adapter object, and shown; the constructor's keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn, Self

from pydantic import SecretStr

from .. import embedding
from ..adapter import Adapter
from ..config import ClientOptions, Configuration, client_options, resolve
from ..errors import ConfigurationError, CopyError
from ..layers import Layer
from ..protocol.clock import Clock, utc_now
from ..runtime.frames import without_locals
from .core import Core


class Client:
    """What both clients share: how they are made and shown."""

    colour: ClassVar[str]
    """Whether its callers await it: sync or async."""
    _url = "not made"

    @without_locals
    def __init__(
        self,
        target: str | Adapter | None = None,
        /,
        *,
        url: str | None = None,
        provider: str | None = None,
        profile: str | None = None,
        clock: Clock | None = None,
        embedder: str | embedding.Embedder | None = None,
        embedder_url: str | None = None,
        embedder_api_key: str | SecretStr | None = None,
        embedder_dimension: int | None = None,
        embedder_batch: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        layers: Sequence[Layer] = (),
        **options: Any,
    ) -> None:
        """Configure a client; nothing is opened until the first verb.

        target: a URL SCHEME://…, a provider's name, or an Adapter of your own. url, provider and the backend's own
        options: the same in keywords. profile: a profile of openmem.toml. clock: the present moment, for tests.
        embedder: 'auto', 'local', 'none', 'test', 'openai:MODEL' or an Embedder. timeout: seconds for a call, your own
        layers apart. retries: how often a request that stored nothing is repeated. None: as the environment or the
        profile says. layers: your own, each a function from an async handler of requests to another, the first
        outermost. Raises ConfigurationError.
        """
        common = {
            "embedder": embedder,
            "embedder_url": embedder_url,
            "embedder_api_key": embedder_api_key,
            "embedder_dimension": embedder_dimension,
            "embedder_batch": embedder_batch,
            "timeout": timeout,
            "retries": retries,
        }
        given = {name: value for name, value in (common | options).items() if value is not None}
        if isinstance(target, Adapter):
            _refuse_for_adapter(url=url, provider=provider, profile=profile, clock=clock)
            self._over(target, given, layers)
        else:
            chosen = resolve(target, url=url, provider=provider, profile=profile, **given)
            self._of(chosen, clock or utc_now, layers)
        self._made()

    def _over(self, adapter: Adapter, given: Mapping[str, Any], layers: Sequence[Layer]) -> None:
        own = client_options({"embedder": "none", **given}, type(adapter))
        embedder = own.make_embedder()
        _refuse_without_embedding(adapter, embedder)
        self._core = Core(adapter, embedder, own, layers, client=self, colour=self.colour)
        self._url = f"{adapter.name}://"

    def _of(self, chosen: Configuration, clock: Clock, layers: Sequence[Layer]) -> None:
        embedder = chosen.make_embedder()
        adapter = chosen.adapter(chosen.settings, embedding=embedding.info(embedder), clock=clock)
        self._core = Core(adapter, embedder, chosen.options, layers, client=self, colour=self.colour)
        self._url = chosen.safe_url

    def _made(self) -> None:
        """Do what one of the two clients needs besides."""

    @property
    def adapter(self) -> Adapter:
        """The adapter that this client drives."""
        return self._core.adapter

    @property
    def options(self) -> ClientOptions:
        """The options common to all backends, as they were configured."""
        return self._core.options

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._core.closed

    @classmethod
    @without_locals
    def from_config(
        cls,
        profile: str | None = None,
        *,
        embedder: str | embedding.Embedder | None = None,
        embedder_url: str | None = None,
        embedder_api_key: str | SecretStr | None = None,
        embedder_dimension: int | None = None,
        embedder_batch: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        layers: Sequence[Layer] = (),
        **options: Any,
    ) -> Self:
        """Make a client from a profile of openmem.toml, else from its default profile."""
        return cls(
            profile=profile,
            embedder=embedder,
            embedder_url=embedder_url,
            embedder_api_key=embedder_api_key,
            embedder_dimension=embedder_dimension,
            embedder_batch=embedder_batch,
            timeout=timeout,
            retries=retries,
            layers=layers,
            **options,
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CopyError(f"a client can be neither copied nor pickled: {self!r}.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"


def _refuse_for_adapter(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigurationError(
                f"'{name}' is given beside an adapter, which is made already.",
                remedy="Give the adapter its clock when you make it." if name == "clock" else "Give one of the two.",
            )


def _refuse_without_embedding(adapter: Adapter, embedder: embedding.Embedder | None) -> None:
    """Refuse an embedder of which an adapter would have no use: it keeps no vectors, or of its own making."""
    if embedder is None or adapter.embedding is not None or type(adapter).capabilities is not Adapter.capabilities:
        return  # in the last case its features are not known before it is asked
    features = adapter.features()
    if not (features.vector_search or features.supports_vectors) or adapter.embeds_itself(adapter.settings):
        raise ConfigurationError(
            f"this {type(adapter).__name__} was made without an embedder, and one is given.",
            remedy="Leave embedder out; or, where it takes vectors, make the adapter with"
            " embedding=openmem.embedding.info(EMBEDDER) and give the client that EMBEDDER.",
        )
