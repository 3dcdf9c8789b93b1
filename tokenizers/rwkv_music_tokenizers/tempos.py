"""How fast music goes when nobody says: customary tempos by rhythm (R:) and by tempo word (Q:"Allegro")."""

from fractions import Fraction

from rwkv_music_tokenizers.score import Score, Tempo

# Used where a piece names neither a tempo nor a rhythm known here.
DEFAULT = Fraction(120)
# Quarters a minute. Session and dance-band custom, rounded: a jig at 116 dotted quarters, a reel at 104 halves.
RHYTHMS = {
    "air": 84,
    "barndance": 160,
    "hornpipe": 168,
    "jig": 174,
    "march": 112,
    "mazurka": 144,
    "minuet": 120,
    "polka": 120,
    "polska": 112,
    "quadrille": 112,
    "reel": 208,
    "rant": 184,
    "schottische": 144,
    "slide": 192,
    "slip jig": 174,
    "slipjig": 174,
    "song": 104,
    "strathspey": 128,
    "waltz": 144,
}
WORDS = {
    "largo": 48,
    "lento": 54,
    "adagio": 66,
    "andante": 84,
    "andantino": 92,
    "moderato": 108,
    "allegretto": 116,
    "allegro": 132,
    "vivace": 152,
    "presto": 176,
}


def starting_tempo(score: Score) -> Fraction:
    """Quarters a minute at the beginning: the header's tempo, else the custom for its tempo word or its rhythm."""
    quarters = quarters_a_minute(score.tempo)
    if quarters is None:
        rhythm = " ".join(score.header("R").lower().split())
        quarters = next((Fraction(RHYTHMS[name]) for name in (rhythm, rhythm.rstrip("s")) if name in RHYTHMS), None)
    return DEFAULT if quarters is None else quarters


def quarters_a_minute(tempo: Tempo | None) -> Fraction | None:
    """What a tempo mark means, None when it says nothing known."""
    if tempo is None:
        return None
    if tempo.bpm is not None:
        return tempo.bpm * tempo.beat
    words = tempo.text.lower().split()
    return next((Fraction(WORDS[word]) for word in words if word in WORDS), None)
