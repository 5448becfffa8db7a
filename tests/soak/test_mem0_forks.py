"""Sixty forks while threads work with mem0: no child hangs, and each is told that the folder is its parent's."""

from __future__ import annotations

from pathlib import Path

from support.mem0_forks import FORKED_AT_WORK
from support.processes import finished

FORKS = 60


def test_sixty_children_are_told_that_the_folder_is_taken(tmp_path: Path) -> None:
    assert finished(FORKED_AT_WORK, f"mem0:///{tmp_path}/mem0", str(FORKS)) == "1\n"
