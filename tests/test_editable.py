"""An editable install lays out links to the packages, and nothing else stands in their place."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a small checkout that has the real build backend."""
    for name in ("setup/editable.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("openmem/cli", "adapters", "conformance"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "openmem" / "types.py").touch()
    return tmp_path


def links(checkout: Path) -> dict[str, str]:
    runpy.run_path(str(checkout / "setup" / "editable.py"))["make_links"]()
    made = (checkout / "build" / "src" / "openmem").iterdir()
    return {each.name: each.resolve().relative_to(checkout).as_posix() for each in made if each.is_symlink()}


WANTED = {"cli": "openmem/cli", "types.py": "openmem/types.py", "adapters": "adapters", "conformance": "conformance"}


def test_each_package_lies_under_its_name(checkout: Path) -> None:
    assert links(checkout) == WANTED
    assert links(checkout) == WANTED


def test_what_is_not_its_link_is_replaced(checkout: Path) -> None:
    links(checkout)
    built = checkout / "build" / "src" / "openmem"
    for name in WANTED:
        (built / name).unlink()
    (built / "cli").write_text("a file")
    (built / "adapters").mkdir()
    (built / "adapters" / "old.py").touch()
    (built / "types.py").symlink_to(checkout / "pyproject.toml")
    (built / "conformance").symlink_to(checkout / "gone")
    assert links(checkout) == WANTED


def test_a_link_in_place_of_the_folder_leads_to_no_loss(checkout: Path) -> None:
    (checkout / "build" / "src").mkdir(parents=True)
    (checkout / "build" / "src" / "openmem").symlink_to(checkout / "openmem")
    assert links(checkout) == WANTED
    assert not (checkout / "openmem" / "cli").is_symlink()
    assert (checkout / "openmem" / "cli" / "__init__.py").exists()


def test_what_is_no_package_any_more_is_gone(checkout: Path) -> None:
    links(checkout)
    built = checkout / "build" / "src" / "openmem"
    (checkout / "openmem" / "types.py").unlink()
    (built / "old.py").touch()
    assert links(checkout) == {name: at for name, at in WANTED.items() if name != "types.py"}
    assert {each.name for each in built.iterdir()} == WANTED.keys() - {"types.py"}
    assert (checkout / "adapters" / "__init__.py").exists()
