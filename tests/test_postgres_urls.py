"""URLs of Postgres over a real server: several hosts, and libpq's options beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers import PostgresCluster

from openmem import Memory, ProviderUnavailableError, bridge


def test_a_server_that_is_away_is_passed_over(postgres: PostgresCluster, database: str, tmp_path: Path) -> None:
    hosts = f"{tmp_path},{postgres.folder}"
    url = f"postgresql+psycopg://postgres@/{database}?host={hosts}&target_session_attrs=read-write&keepalives_idle=9"
    with Memory(url, embedder="none", retries=0) as memory:
        added = memory.add("green tea", "u")
        assert memory.list("u").items == [added]
    with (
        Memory(f"postgres://postgres@/{database}?host={tmp_path},{tmp_path}", embedder="none", retries=0) as memory,
        pytest.raises(ProviderUnavailableError),
    ):
        memory.list("u")


def test_options_of_the_session_are_kept_and_ours_hold(postgres_url: str) -> None:
    url = f"{postgres_url}&options=-c%20datestyle%3DGerman%20-c%20work_mem%3D5MB&application_name=web"
    with Memory(url, embedder="test:32") as memory:
        added = memory.add("green tea", "u")
        assert memory.search("tea", "u")[0].memory == added
        sql = "SELECT current_setting('work_mem'), current_setting('datestyle'), current_setting('application_name')"
        pool = memory._core.adapter._connections.primary  # type: ignore[attr-defined]

        async def settings() -> object:
            async with pool.session() as session:
                return await (await session.execute(sql)).fetchone()

        assert bridge.run(settings(), inline=False) == ("5MB", "ISO, DMY", "web")
