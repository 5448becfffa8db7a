"""One command a verb, its parameters taken from the verb's request model."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import typer
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from openmem._generated.models import BatchResult
from openmem._generated.verbs import VERBS
from openmem.errors import InvalidRequestError

from . import output
from .common import SHARED, arguments, connect
from .values import extensions, from_json, moment, standard_input

if TYPE_CHECKING:
    from openmem.client import Memory

COMMANDS = (
    *("add", "search", "list", "get", "update", "delete", "erase", "context", "stats", "scopes", "users", "audit"),
    *("capabilities", "related", "history", "health"),
)
"""The verbs that are commands."""
POSITIONAL = {verb: next((each for each in VERBS[verb].positional if each != "user_id"), None) for verb in COMMANDS}
"""The field of each that is an argument; every other field, the user first of all, is an option."""

_FLAGS = {"user_id": "--user", "tags": "--tag"}  # every other option is called as its field
_ALL = {"all": (Annotated[bool, typer.Option("--all", help="Follow the cursor to the last page.")], False)}
_PAGED = ("list", "scopes", "users")
_EXTRA: dict[str, dict[str, tuple[Any, Any]]] = {
    **dict.fromkeys(_PAGED, _ALL),
    "update": {
        "clear": (
            Annotated[list[str] | None, typer.Option(metavar="FIELD", help="A field to clear; repeatable.")],
            None,
        )
    },
}
_EXTENSION = Annotated[
    list[str] | None,
    typer.Option(metavar="x-NAME=JSON", help="Your own field, a name that begins with x-; repeatable."),
]


class _Shape(NamedTuple):
    """How a field is written on a command line; read turns its text into a value where pydantic does not."""

    type: Any
    metavar: str | None
    read: Callable[[str, str], Any] | None = None


def register(app: typer.Typer) -> None:
    """Add the verbs to an app."""
    for verb in POSITIONAL:
        app.command(verb, help=VERBS[verb].summary)(_command(verb))


def _command(verb: str) -> Callable[..., None]:
    """Make the command of a verb: a function whose signature, which Typer reads, lists the fields of its request."""
    model = VERBS[verb].request
    absent = dict.fromkeys(name for name in model.model_fields if name == POSITIONAL[verb])  # no client method omits it
    own = {**_EXTRA.get(verb, {}), **({"extension": (_EXTENSION, None)} if _extensible(model) else {})}

    def command(url: str | None, profile: str | None, option: list[str] | None, json: bool, **given: Any) -> None:
        fields = {**absent, **_fields(model, given)}
        with connect(url, profile, option) as memory:
            result = _call(memory, verb, fields, follow=verb in _PAGED and given["all"])
            if verb == "add" and output.watched() and _lacks_embedder(memory, url, profile, option):
                output.advise()
            if verb == "erase" and result.dry_run:
                output.warn("a dry run: nothing is erased. --no-dry-run erases.")
        output.show(result, as_json=json)

    parameters = [_parameter(name, field, name == POSITIONAL[verb]) for name, field in model.model_fields.items()]
    parameters += [_keyword(name, *kind) for name, kind in (own | SHARED).items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _call(memory: Memory, verb: str, fields: dict[str, Any], *, follow: bool) -> Any:
    result = getattr(memory, verb)(**fields)
    while follow and result.next_cursor:
        page = getattr(memory, verb)(**{**fields, "cursor": result.next_cursor})
        result = page.model_copy(update={"items": result.items + page.items})
    if verb != "delete":
        return result
    return BatchResult(id=fields["id"], **{name: fields[name] for name in ("external_id",) if name in fields})


def _lacks_embedder(memory: Memory, url: str | None, profile: str | None, option: list[str] | None) -> bool:
    """Tell whether the store has no vectors though nobody declined them."""
    from openmem import config

    chosen = config.resolve(**arguments(url, profile, option))
    return chosen.options.embedder == "auto" and not memory.capabilities().features.vector_search


# --- from a request model to parameters --------------------------------------------------------------------------


def _parameter(name: str, field: FieldInfo, positional: bool) -> inspect.Parameter:
    shape = _shape(field.annotation)
    default: Any = ... if field.is_required() else field.default
    if not (shape.type is bool or default in (None, ...)):
        default = str(default)
    help_ = f"{field.description} '-' reads standard input." if name == "content" else field.description or ""
    if positional:
        return _keyword(name, shape.type, typer.Argument(default, metavar=name.upper(), help=help_))
    flags = [f"{_flag(name)}/--no-{_flag(name)[2:]}" if shape.type is bool else _flag(name)]
    env = None
    if name == "user_id":
        flags, env = [*flags, "-u"], "OPENMEM_USER"
    if get_origin(shape.type) is list:
        help_ += " Repeatable."
    return _keyword(name, shape.type, typer.Option(default, *flags, metavar=shape.metavar, help=help_, envvar=env))


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(name: str) -> str:
    return _FLAGS.get(name) or f"--{name.replace('_', '-')}"


def _extensible(model: type[BaseModel]) -> bool:
    return model.model_config.get("extra") == "allow"


def _shape(annotation: Any) -> _Shape:
    bare = _without_none(annotation)
    if get_origin(bare) is list:
        item = get_args(bare)[0]
        return _Shape(str, "JSON", from_json) if item is float else _Shape(list[str], _shape(item).metavar)
    if get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, BaseModel)):
        return _Shape(str, "JSON", from_json)
    if get_origin(bare) is Literal:
        return _Shape(str, "|".join(get_args(bare)))
    if bare is AwareDatetime:
        return _Shape(str, "ISO-8601", moment)
    return _Shape(bool, None) if bare is bool else _Shape(str, {int: "INTEGER", float: "NUMBER"}.get(bare, "TEXT"))


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next(each for each in get_args(annotation) if each is not NoneType)


# --- from parameters to the fields of a request ------------------------------------------------------------------


def _fields(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read what was given; numbers and words stay text, which the request model reads and judges."""
    fields = {
        name: _value(name, field, given[name]) for name, field in model.model_fields.items() if given[name] is not None
    }
    cleared = [_clearable(model, name) for name in given.get("clear") or ()]
    extra = {**extensions(given.get("extension") or ()), **dict.fromkeys(cleared)}
    both = sorted(fields.keys() & extra.keys())
    if both:
        raise InvalidRequestError(f"{both[0]} is both given and cleared.", remedy="Do one of the two.")
    return fields | extra


def _value(name: str, field: FieldInfo, given: Any) -> Any:
    if name == "content" and given == "-":
        return standard_input()
    read = _shape(field.annotation).read
    return given if read is None else read(_flag(name), given)


def _clearable(model: type[BaseModel], name: str) -> str:
    from openmem.protocol.records import PATCHED

    field = name if name.startswith("x-") else name.replace("-", "_")
    if field in PATCHED or name.startswith("x-"):
        return field
    near = difflib.get_close_matches(field, PATCHED, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise InvalidRequestError(f"'{name}' cannot be cleared.", remedy=f"{hint}Fields: {', '.join(sorted(PATCHED))}.")
