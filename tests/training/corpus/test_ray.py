"""A local Ray cluster of two workers builds the same corpus, byte by byte."""

import filecmp

import pytest
import ray

from rwkv_music_training.corpus import on_ray as on_ray_module
from rwkv_music_training.corpus.build import build, here
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.on_ray import on_ray
from rwkv_music_training.corpus.recipe import Recipe


def test_ray_builds_the_same_bytes(collection, tunebook, tmp_path, monkeypatch):
    # Some files for each of the workers, and more than once.
    monkeypatch.setattr(on_ray_module, "FILES", 10)
    (tmp_path / "broken.mid").write_bytes(b"noise")
    places = [collection, tunebook, tmp_path / "broken.mid"]
    one = build(places, tmp_path / "one", Recipe(), here(1)).folder
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    other = build(places, tmp_path / "other", Recipe(), on_ray()).folder
    assert not ray.is_initialized()
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*"))
    files = [name for name in names if (one / name).is_file()]
    assert filecmp.cmpfiles(one, other, files, shallow=False)[0] == files and len(files) == 9


def test_without_ray_it_is_said_how_to_get_it(collection, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(CorpusError, match=r"pip install 'rwkv-music\[ray\]'"):
        build([collection], tmp_path / "out", Recipe(), on_ray())
