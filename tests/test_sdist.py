"""The source distribution holds what git does, and its tests run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAYS = {".gitignore"}
MADE = {"PKG-INFO", "setup.cfg"}
LOCAL = (".git", ".venv", ".*_cache", ".hypothesis", "*.egg-info", "build", "dist", "out")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the distribution of a copy, so that nothing is written beside the sources, and unpack it."""
    folder = tmp_path_factory.mktemp("sdist")
    source = shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*LOCAL))
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, source]
    result = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("openmem_sdk-*/"))


@pytest.mark.skipif(not ((ROOT / ".git").exists() and shutil.which("git")), reason="not a checkout")
def test_it_holds_what_git_does(sdist: Path) -> None:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    there = {name for name in tracked.split("\0") if (ROOT / name).is_file()}
    shipped = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    assert {name for name in shipped - MADE if ".egg-info/" not in name} == there - STAYS


def test_its_tests_run(sdist: Path, tmp_path: Path) -> None:
    files = ["tests/test_rooms.py", "tests/protocol/test_context.py", "tests/config/test_urls.py"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", *files]
    result = subprocess.run(command, cwd=sdist, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
