"""A studio for tests: the embedded models, in a folder of its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwkv_music_app.models import Models
from rwkv_music_app.studio import Growth, Studio


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """The embedded models, four rows each."""
    models = Models(rows=4)
    yield models
    models.close()


@pytest.fixture
def studio(models: Models, tmp_path: Path) -> Studio:
    """A studio whose sessions lie in a fresh folder."""
    return Studio(tmp_path / "sessions", models)


@pytest.fixture
def seen():
    """`seen(studio, growth)`: every update until the takes have grown."""

    def follow(studio: Studio, growth: Growth) -> list[dict]:
        async def all_of_them() -> list[dict]:
            return [update async for update in studio.follow(growth)]

        return asyncio.run(all_of_them())

    return follow
