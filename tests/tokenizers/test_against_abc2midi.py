"""What we play against what abc2midi plays, where symusic (which carries it) is installed."""

import importlib.util
import itertools
import pathlib
from types import ModuleType

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "abc" / "valid.jsonl.zst"


@pytest.fixture(scope="module")
def comparison() -> ModuleType:
    spec = importlib.util.spec_from_file_location("against_abc2midi", ROOT / "benchmarks" / "abc_against_abc2midi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.find_abc2midi() is None:
        pytest.skip("there is no abc2midi here")
    return module


@pytest.mark.parametrize(
    "music",
    [
        "CDEF|GABc|]",
        "|:C^FF=F:|G4|]",
        "|:CD|1EF:|2GA|]",
        "|:C4|[1-3D4:|[4E4|]",
        "C>DE<F|(3CDE (5FGABcd|]",
        "C2-C2|-C2[CEG]2|]",
        "[K:Eb]ABcd|[M:3/4]efg|[L:1/8]abc'|]",
        "P:A\nC4|\nP:B\nD4|]",
        "V:1\nCDEF|\nV:2 clef=bass\nC,2E,2|\n",
        "z2 C2|Z|C4|]",
    ],
)
def test_the_same_notes_sound_at_the_same_time(comparison: ModuleType, music: str):
    abc = f"X:1\nT:t\nP:ABA\nM:4/4\nL:1/4\nK:D\n{music}\n" if "P:" in music else f"X:1\nM:4/4\nL:1/4\nK:D\n{music}\n"
    theirs, _errors = comparison.their_notes(comparison.find_abc2midi(), abc)
    assert comparison.our_notes(abc) == theirs


def test_a_sample_of_real_tunes_agrees(comparison: ModuleType):
    if not SHARED.exists():
        pytest.skip("the tunes are not here")
    tunes = itertools.islice(comparison.read_tunes(SHARED, None), 0, None, 9)
    found = comparison.compare(comparison.find_abc2midi(), tunes)
    assert found["read_without_error"] > 25
    assert found["same_pitches_with_starts"] >= 0.97


def test_the_start_of_a_repeat_is_written_where_the_standard_puts_it(comparison: ModuleType):
    assert comparison.with_starts("X:1\nK:C\nC|D||E|F:|\n") == "X:1\nK:C\nC|D|| |: E|F:|\n"
    assert comparison.with_starts("X:1\nK:C\nC|D:|E|F:|\n") == "X:1\nK:C\n |: C|D:| |: E|F:|\n"
    assert comparison.with_starts("X:1\nK:C\n|:C|1D:|2E||F:|\n") == "X:1\nK:C\n|:C|1D:|2E|| |: F:|\n"
