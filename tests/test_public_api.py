"""What `import openmem` gives, what it does not load, and what the wheel holds."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pydantic
import pytest

import openmem
from openmem import errors, types
from support.checkers import TYPED, complaints
from support.processes import python

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGE_OF_TYPES = """MemoryRecord MemorySource SearchResult MemoryPage ContextBlock Capabilities CapabilityFeatures
    CapabilityLimits AuditEntry"""
SHIPPED = {"openmem": "openmem", "adapters": "openmem/adapters", "conformance": "openmem/conformance"}


@pytest.mark.parametrize("name", openmem.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(openmem, name) is not None
    assert name in dir(openmem)


def test_no_public_name_is_listed_twice() -> None:
    assert len(openmem.__all__) == len(set(openmem.__all__)) > 40


@pytest.mark.parametrize("name", PAGE_OF_TYPES.split())
def test_every_name_of_the_sdk_page_is_public(name: str) -> None:
    assert name in openmem.__all__
    assert getattr(openmem, name) is getattr(types, name)


def test_memory_record_is_the_model_and_memory_the_client() -> None:
    assert openmem.MemoryRecord is types.MemoryRecord is types.MemoryRecord
    assert openmem.Memory is not types.MemoryRecord


def test_every_error_is_public_and_in_one_tree() -> None:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    assert {cls.__name__ for cls in found} <= set(openmem.__all__)
    assert all(issubclass(cls, openmem.OMPError) for cls in found)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Memori'"):
        openmem.Memori  # noqa: B018


def test_star_import_gives_exactly_the_public_names() -> None:
    result = python("before = set(dir())\nfrom openmem import *\nprint(*set(dir()) - before - {'before'})")
    assert set(result.stdout.split()) == set(openmem.__all__), result.stderr


def loaded_by(statement: str) -> set[str]:
    """Name the modules that a statement loads in a fresh Python."""
    script = f"import sys; before = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    result = python(script)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_import_openmem_loads_the_standard_library_only() -> None:
    loaded = loaded_by("import openmem")
    assert "openmem" in loaded
    foreign = {name for name in loaded if name.partition(".")[0] not in {*sys.stdlib_module_names, "openmem"}}
    assert foreign == set()
    assert {name for name in loaded if name.startswith("openmem.")} == set()


def test_the_clients_load_no_adapter_before_one_is_named() -> None:
    loaded = loaded_by("from openmem import Memory, AsyncMemory, OMPError, MemoryRecord")
    assert "openmem.client" in loaded
    assert {"numpy", "httpx", "Stemmer", "tenacity", "wordllama"} & loaded == set()
    assert {name for name in loaded if name.startswith("openmem.adapters")} == set()


def test_a_backend_loads_no_other_backend() -> None:
    loaded = loaded_by("import openmem; openmem.Memory('memory://', embedder='none').add('a word', 'u')")
    assert "openmem.adapters.memory" in loaded
    assert {"openmem.adapters.sqlite", "sqlite3", "httpx", "tenacity", "wordllama"} & loaded == set()


def imported_in(path: Path) -> set[str]:
    """Name what a file imports, relative names made absolute."""
    package = ["openmem", *path.relative_to(ROOT / "openmem").parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def test_the_core_reaches_adapters_through_the_registry_only() -> None:
    core = sorted((ROOT / "openmem").rglob("*.py"))
    assert len(core) > 20
    reaching = {path.name for path in core if any(n.startswith("openmem.adapters") for n in imported_in(path))}
    assert reaching == set()


def test_first_party_adapters_use_the_same_door_as_others() -> None:
    found = {entry.name: entry.load() for entry in entry_points(group="openmem.adapters")}
    assert {"memory", "sqlite"} <= found.keys()
    assert all(issubclass(cls, openmem.Adapter) for cls in found.values())


def test_the_package_is_typed() -> None:
    assert (Path(openmem.__file__).parent / "py.typed").is_file()


def folders_of_modules() -> set[str]:
    return {
        ".".join([*inside.split("/"), *path.parent.relative_to(ROOT / folder).parts])
        for folder, inside in SHIPPED.items()
        for path in (ROOT / folder).rglob("*.py")
    }


def test_the_package_list_is_what_is_on_disk() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders_of_modules()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel of a copy, so that nothing is written beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*SHIPPED, "setup"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    result = subprocess.run([*pip, "-w", folder, source], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    modules = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in SHIPPED.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert shipped == modules | {
        "openmem/py.typed",
        "openmem/_generated/openapi.yaml",
        "openmem/conformance/ranking.json",
    }


def test_the_wheel_carries_the_spec_the_doors_and_the_licence(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("openmem/_generated/openapi.yaml") == (ROOT / "spec" / "openapi.yaml").read_bytes()
    metadata = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "openmem.adapters.memory:MemoryAdapter" in metadata["entry_points.txt"]
    assert "openmem = openmem.cli:main" in metadata["entry_points.txt"]
    assert "Name: openmem-sdk" in metadata["METADATA"]
    assert "Classifier: Typing :: Typed" in metadata["METADATA"]
    assert "Apache License" in metadata["LICENSE"]


def test_the_wheel_works_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import json, openmem, openmem.adapters.memory, openmem.conformance\n"
        "memory = openmem.Memory('memory://', embedder='test:8')\n"
        "memory.add('works', 'u')\n"
        "found = memory.search('works', 'u')[0].memory.content\n"
        "print(json.dumps([found, openmem.__file__, openmem.adapters.memory.__file__]))"
    )
    result = python(script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    content, *files = json.loads(result.stdout)
    assert content == "works"
    assert all(file.startswith(str(tmp_path)) for file in files)


def test_the_wheel_is_typed_where_it_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "venv")}))
    wheel.extractall(own)
    (own / "needed.pth").write_text(str(Path(pydantic.__file__).parents[1]), "utf-8")  # what openmem depends on
    executable = tmp_path / "venv" / "bin" / "python"
    command = [executable, "-c", "import openmem.conformance; print(openmem.conformance.__file__)"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert Path(result.stdout.strip()).is_relative_to(own), result.stderr
    assert complaints(TYPED / "app.py", tmp_path, executable=str(executable)) == set()
    assert len(complaints(TYPED / "wrong.py", tmp_path, executable=str(executable))) > 30


# --- names and their homes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in openmem.__all__ if name not in ("UNSET", "Handler", "Layer")])
def test_every_public_name_comes_from_its_home(name: str) -> None:
    value = getattr(openmem, name)
    home = importlib.import_module(value.__module__)
    assert home.__name__.startswith("openmem.")
    assert getattr(home, value.__name__) is value
    assert value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(openmem.__file__).read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [
        alias.asname or alias.name
        for node in ast.walk(guarded)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(seen) == sorted(openmem.__all__)


@pytest.mark.parametrize("name", types.__all__)
def test_every_type_but_those_of_the_wire_is_public(name: str) -> None:
    assert getattr(types, name) is not None
    if name != "Memory" and not name.endswith(("Request", "Response")):  # at the top, Memory is the client
        assert name in openmem.__all__


def test_the_import_of_the_page() -> None:
    result = python(f"from openmem import ({', '.join(PAGE_OF_TYPES.split())})")
    assert result.returncode == 0, result.stderr


VENDORS = {
    "httpx",
    "tenacity",
    "wordllama",
    "tokenizers",
    "safetensors",
    "openai",
    "psycopg",
    "qdrant_client",
    "mem0",
    "typer",
}


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/a.db"])
def test_an_embedded_backend_loads_no_http_and_no_vendor(url: str, tmp_path: Path) -> None:
    script = f"from openmem import Memory\nm = Memory({url.format(tmp_path)!r}, embedder='none')\n"
    assert VENDORS & loaded_by(script) == set()
    used = (
        "m.add('a word', 'u', metadata={'a': 1}); m.search('word', 'u'); m.context('word', 'u'); m.list('u'); m.close()"
    )
    loaded = loaded_by(script + used)
    assert f"openmem.adapters.{url.partition(':')[0]}" in loaded
    assert VENDORS & loaded == set()
    assert not any(
        name.startswith(("openmem.conformance", "openmem.cli.", "openmem.embedding.local")) for name in loaded
    )


def test_an_error_or_a_type_loads_no_client() -> None:
    loaded = loaded_by("from openmem import NotFoundError, MemoryRecord")
    assert {"openmem.errors", "openmem.types"} <= loaded
    assert {"openmem.client", "openmem.config", "asyncio", "numpy"} & loaded == set()


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for name in SHIPPED for path in (ROOT / name).rglob("*.py")}
    assert len(folders) >= 8
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_wheel_takes_no_name_of_another_project(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"openmem"}
    needed = {f"openmem/conformance/checks/{path.name}" for path in (ROOT / "conformance" / "checks").glob("*.py")}
    needed |= {"openmem/adapters/memory/adapter.py", "openmem/adapters/postgres/adapter.py", "openmem/py.typed"}
    assert needed <= set(wheel.namelist())
    (top,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("top_level.txt"))
    assert top.split() == ["openmem"]
