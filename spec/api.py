"""Hold the public API against spec/api.txt: one line a name, its signature in it.

Run `python spec/api.py` after a change to the API, which prints what changed and writes the file; `--check` exits 1
where the file is not what the code says, and 2 where the links to the sources are missing.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import typer

from openmem.cli import app

SNAPSHOT = Path(__file__).with_name("api.txt")
SOURCES = Path(__file__).parents[1] / "build" / "src"  # see setup/editable.py
MODULES = ("openmem", "openmem.types", "openmem.errors", "openmem.embedding", "openmem.conformance")
KIT = "openmem.adapters.kit"  # whose modules are public, each of them
SPECIAL = ("__init__", "__enter__", "__exit__", "__aenter__", "__aexit__")
LONGEST_VALUE = 40  # characters: what is longer is data
PREFIX = re.compile(r"^(class |async |classmethod |staticmethod )*")


def main() -> int:
    """Print breaks, changes and additions since the snapshot; write it anew, or with --check report drift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--snapshot", type=Path, default=SNAPSHOT, help="the file, in place of spec/api.txt")
    check, snapshot = (given := parser.parse_args()).check, given.snapshot
    if missing := [name for name in ("adapters", "conformance") if not (SOURCES / "openmem" / name).is_dir()]:
        parser.error(f"{SOURCES / 'openmem'} has no {' and no '.join(missing)}: run `make -B .venv/dev`.")
    old = snapshot.read_text("utf-8").splitlines() if snapshot.is_file() else []
    new = sorted([*python_lines(), *cli_lines("$ openmem", typer.main.get_command(app))], key=name_of)
    for line in differences(old, new):
        print(line)
    if not check:
        snapshot.write_text("".join(f"{line}\n" for line in new), "utf-8")
    elif old != new:
        print(f"{snapshot.name} is not what the code says: see above, and run `make api` if that is meant.")
    return int(check and old != new)


def differences(old: list[str], new: list[str]) -> Iterator[str]:
    """Tell what a caller has to change, and what a caller may use now."""
    before, after = ({name_of(line): line for line in lines} for lines in (old, new))
    for name in sorted({*before, *after}):
        was, is_now = before.get(name), after.get(name)
        if was is None:
            yield f"added    {is_now}"
        elif is_now is None:
            yield f"BREAK    {was}\n      -> removed"
        elif was != is_now:
            yield f"{'widened ' if widened(was, is_now) else 'BREAK   '} {was}\n      -> {is_now}"


def widened(was: str, is_now: str) -> bool:
    """Tell whether a function has only become more: all that is new are parameters that may be left out."""
    head, bracket, _ = was.partition("(")
    if not bracket or head != is_now.partition("(")[0] or head.startswith("class "):
        return False
    old, new = (griffe.visit("api", Path("api.py"), f"def f{each[len(head) :]}: ...") for each in (was, is_now))
    if any(griffe.find_breaking_changes(old, new)):  # moved, required or gone; of types it says nothing
        return False
    before, after = (module.functions["f"] for module in (old, new))
    for parameter in [each.name for each in after.parameters if each.name not in before.parameters]:
        del after.parameters[parameter]
    return before.signature() == after.signature()


def python_lines() -> Iterator[str]:
    """Write one line for each name that the public modules give, and for each member of their classes."""
    loader = griffe.GriffeLoader(search_paths=[SOURCES])
    loader.load("openmem", try_relative_path=False)
    loader.resolve_aliases()
    loaded = loader.modules_collection
    homes: dict[str, str] = {}  # where an object is -> its first public name
    for module in [*MODULES, *sorted(each.path for each in loaded[KIT].modules.values())]:
        for name in public_names(loaded[module]):
            target = final(loaded[module].members[name])
            target = target[name] if target.is_module else target  # a function beside the module of its name
            first = homes.setdefault(target.canonical_path, f"{module}.{name}")
            if first != f"{module}.{name}":
                yield f"{module}.{name} = {first}"
    for path, public in homes.items():
        if not loaded[path].is_class:
            yield line_of(public, loaded[path])
        else:
            yield f"class {public}({', '.join(public_bases(loaded[path], homes))})"
            yield from (line_of(f"{public}.{name}", each) for name, each in members(loaded[path], homes))


def public_names(module: Any) -> list[str]:
    """Name what a module exports: __all__, or what it defines without an underscore."""
    if module.exports is not None:
        return list(module.exports)
    own = {name: each for name, each in module.members.items() if not (name.startswith("_") or each.is_alias)}
    return [name for name, each in own.items() if not each.is_module]


def public_bases(target: Any, homes: dict[str, str]) -> list[str]:
    """Name the bases of a class but our own that are not public, whose members are the class's."""
    paths = {str(base): str(getattr(base, "canonical_path", base)) for base in target.bases}
    return [base for base, path in paths.items() if path in homes or not path.startswith("openmem.")]


def members(target: Any, homes: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Give the public members of a class, with those of bases that are not public themselves."""
    for name, member in target.all_members.items():
        owner = final(member).parent
        if (name in SPECIAL or not name.startswith("_")) and (owner is target or owner.canonical_path not in homes):
            yield name, final(member)


def final(member: Any) -> Any:
    """Follow imports to the object itself."""
    return member.final_target if member.is_alias else member


def line_of(name: str, target: Any) -> str:
    """Write a function with its signature, an attribute with its type and short value."""
    if target.is_function:
        labels = " ".join(label for label in ("async", "classmethod", "staticmethod") if label in target.labels)
        return f"{labels} {target.signature(name=name)}".strip()
    kind = re.sub(r"^Annotated\[(.*?), Field\(.*", r"\1", str(target.annotation)) if target.annotation else ""
    value = "" if "instance-attribute" in target.labels and not target.annotation else str(target.value or "")
    return name + (f": {kind}" if kind else "") + (f" = {value}" if 0 < len(value) <= LONGEST_VALUE else "")


def cli_lines(name: str, command: Any) -> Iterator[str]:
    """Write one line a command and one for each of its options and arguments."""
    yield name
    for parameter in command.params:
        yield f"{name} {', '.join([*parameter.opts, *parameter.secondary_opts])}"
    for each in getattr(command, "commands", {}).values():
        yield from cli_lines(f"{name} {each.name}", each)


def name_of(line: str) -> str:
    """Return the name that a line is about."""
    return line if line.startswith("$") else re.split(r"[(: ]", PREFIX.sub("", line))[0]


if __name__ == "__main__":
    raise SystemExit(main())
