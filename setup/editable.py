"""The build backend: setuptools, and an editable install whose types are found.

setuptools serves an editable install that maps folders by a finder, which type checkers cannot read: they read folders
on the path. So build/src, where every package lies under its name as a link, is put on the path beside the finder.
Links lead to folders, so a new module is there at once; one directly in openmem/ comes from the finder until the next
install.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  the other hooks as they are

ROOT = Path(__file__).parents[1]
LINKS = ROOT / "build" / "src"


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build the wheel of an editable install; without the links where the system makes none."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    try:
        make_links()
    except OSError as error:
        print(f"Type checkers will not find openmem: {error}")  # noqa: T201  pip shows it
    else:
        add_file(Path(wheel_directory, name), "openmem_sdk-links.pth", f"{LINKS}\n".encode())
    return name


def make_links() -> None:
    """Lay out the packages under their names, in place of whatever else is there."""
    if not str(LINKS).isascii():  # a Python in another locale would not start for a line of that in a .pth
        raise OSError(f"{str(LINKS)!a} is not written in ASCII.")
    mapped = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"]
    if (LINKS / "openmem").is_symlink():  # what is made and removed below is to be in build/, not in the sources
        (LINKS / "openmem").unlink()
    (LINKS / "openmem").mkdir(parents=True, exist_ok=True)
    targets = {each.name: each for each in (ROOT / "openmem").iterdir()}
    targets |= {package.removeprefix("openmem."): ROOT / folder for package, folder in mapped.items()}
    links = {name: os.path.relpath(target, LINKS / "openmem") for name, target in targets.items()}
    for old in (LINKS / "openmem").iterdir():
        if old.is_symlink() and str(old.readlink()) == links.get(old.name):
            continue
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    for name, target in links.items():
        if not (LINKS / "openmem" / name).is_symlink():
            (LINKS / "openmem" / name).symlink_to(target)


def add_file(wheel: Path, name: str, content: bytes) -> None:
    """Add a file to a wheel and to its list of files."""
    with zipfile.ZipFile(wheel) as old:
        entries = {each: old.read(each) for each in old.namelist()}
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record = next(each for each in entries if each.endswith(".dist-info/RECORD"))
    entries[name] = content
    entries[record] += f"{name},sha256={digest},{len(content)}\n".encode()
    with zipfile.ZipFile(wheel, "w") as new:
        for each in entries:
            new.writestr(each, entries[each])
