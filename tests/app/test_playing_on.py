"""Pieces that grow: what is read of them bar by bar is what would be read of the whole at once."""

import numpy as np
import pytest

from rwkv_music.closing import close_tune
from rwkv_music.works import Tune
from rwkv_music_app.playing_on import PlayingOn
from rwkv_music_app.views import View, notes_of
from rwkv_music_app.wants import Begin, GoOn
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.unfold import unfold

HEADER = "X:1\nT:Long\nR:reel\nM:4/4\nL:1/8\nK:G\n"
PHRASE = "GABc d2Bd|edcB A2GA|BAGF E2FG|A2AB A4|\n"
GROWING = "B2dB A2GB|[M:3/4]A2FA dA|[Q:1/4=90]GBdB gB|[M:4/4][K:D]d4 c4-|c4 B4:|\n|:A2FA dAFA|B4 A4|1G8:|2F8|]\n"
TUNES = {
    "plain": PHRASE * 20,
    "repeats": f"|:{PHRASE}{PHRASE.rstrip()[:-1]}:|\n" * 10,
    "endings": ("|:" + PHRASE.rstrip() + "1GABc d4:|2GABc B4||\n") * 10,
    "ties": "GABc d2B2-|B4 A4-|A4 G4-|G2AB A4|\n" * 16 + PHRASE + "GABc d4-|d2Bd A4-|\n",
    "chords": '"G"GABc d2Bd|"Am"edcB A2GA|"C"BAGF "D"E2FG|A2AB A4|\n' * 16,
    "changes": "[Q:1/4=200]" + PHRASE + "[M:6/8]GAB cde|fga gfe|\n[M:4/4]" + PHRASE * 14,
    "loud": PHRASE * 12 + "!f!GABc d2Bd|\n" + PHRASE * 4,
    "graces": "{g}G.A{B}Bc (3ded Bd|edcB A>GA<A & A4 c4|\n" * 30,
    "to the beginning": PHRASE * 14,
}


def same(one: Performance, other: Performance) -> bool:
    tables = ("tempos", "meters", "keys")
    return notes_of(one) == notes_of(other) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in tables
    )


@pytest.mark.parametrize("name", TUNES)
def test_a_tune_played_on_from_a_seam_sounds_as_if_played_whole(name):
    given = HEADER + TUNES[name]
    playing, heads = PlayingOn(), set()
    for length in range(0, len(GROWING) + 1, 9):
        tune = Tune(close_tune(given + GROWING[:length], len(given), complete=False))
        assert same(playing.play(tune, unfold(tune.score)), tune.performance), GROWING[:length]
        heads.add(id(playing._head))
    assert playing._head is not None and len(heads) < 8


@pytest.mark.parametrize("name", TUNES)
def test_a_tune_that_grows_from_nothing_sounds_as_if_played_whole(name):
    given, body = HEADER, TUNES[name]
    playing, heads = PlayingOn(), {}
    for length in range(60, len(body) + 1, 41):
        tune = Tune(close_tune(given + body[:length], len(given), complete=False))
        assert same(playing.play(tune, unfold(tune.score)), tune.performance), body[:length]
        if playing._head is not None:
            heads[len(playing._head.places)] = playing._head
    # One grows out of the other.
    assert len(heads) > 1


@pytest.mark.parametrize("kind", ["abc", "midi"])
def test_a_view_that_followed_a_piece_shows_what_a_new_one_does(studio, kind):
    abc = HEADER + TUNES["repeats"]
    begin = Begin(text=abc) if kind == "abc" else Begin(content=Tune(abc).midi(), name="a.mid")
    sitting = studio.begin("ann", begin)
    growth = studio.go_on("ann", sitting.name, GoOn(bars=8, seed=3))
    assert growth.job.settled.wait(60)
    piece, bits, followed = growth.takes[0].piece, sitting.surprised(1), View()
    for length in range(0, piece.length, 25):
        followed.update(piece.back_to(length), bits, sheet=length % 2 == 0)
    followed.update(piece, bits)
    new = View()
    new.update(piece, bits)
    assert followed.shown == new.shown and followed.since(0)["notes"] == new.since(0)["notes"]
