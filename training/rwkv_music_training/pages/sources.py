"""Where the music of the training data comes from, who transcribed it, and what that allows."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One collection of the training data."""

    # Its name in the data.
    key: str
    title: str
    credit: str
    licence: str


SOURCES = (
    Source(
        "music21/oneills1850",
        "F. O'Neill, *Music of Ireland* (1903)",
        "the volunteers of the O'Neill's Project (1996-99)",
        "print in the public domain; distributed with music21 by permission of the encoders",
    ),
    Source(
        "music21/ryansMammoth",
        "*Ryan's Mammoth Collection* (1883)",
        "Ray Davies, J. Chambers, J. B. Walsh and others",
        "print in the public domain; distributed with music21 by permission of the encoders",
    ),
    Source(
        "music21/airdsAirs",
        "J. Aird, *A Selection of Scotch, English, Irish and Foreign Airs*, 1-6 (1782-1803)",
        "Jack Campin (2009)",
        "print in the public domain; distributed with music21 by permission of the encoders",
    ),
    Source(
        "music21/miscFolk",
        "*Northumbrian Minstrelsy* (1882) and American fife tunes",
        "Jack Campin",
        "print in the public domain; distributed with music21 by permission of the encoders",
    ),
    Source(
        "polifonia/cre_corpus",
        "traditional tunes as in *Ceol Rince na hÉireann* I-V",
        "Bill Black (transcriptions), D. Diamond (MIDI), the Polifonia project",
        "CC-BY-4.0; the corpus also carries the Unlicense; re-notated as ABC for this data",
    ),
    Source(
        "00sapo/OpenEWLD",
        "OpenEWLD, lead sheets of songs in the public domain, with chord symbols",
        "the contributors of Wikifonia and OpenEWLD (Federico Simonetta)",
        "MIT; re-notated as ABC for this data",
    ),
)


MIDI_SOURCES = (
    Source(
        "polish_scores",
        "Polish Scores: music from Polish libraries, largely of the sixteenth to nineteenth centuries",
        "the Fryderyk Chopin Institute and the encoders of polishscores.org (doi 10.5281/zenodo.7118989)",
        "CC-BY-4.0; Humdrum scores turned into MIDI for this data",
    ),
    Source(
        "openscore_lieder",
        "OpenScore Lieder Corpus: songs for voice and piano of the nineteenth century",
        "the volunteers of OpenScore",
        "CC0-1.0; scores turned into MIDI for this data",
    ),
    Source(
        "openscore_quartets",
        "OpenScore String Quartets: quartets of the long nineteenth century",
        "the volunteers of OpenScore",
        "CC0-1.0; scores turned into MIDI for this data",
    ),
    Source(
        "cre_irish",
        "traditional tunes as in *Ceol Rince na hÉireann*",
        "Bill Black (transcriptions), D. Diamond (MIDI), the Polifonia project (folk_ngram_analysis)",
        "CC-BY-4.0; the corpus also carries the Unlicense",
    ),
)


def sources_table(sources: Sequence[Source] = SOURCES) -> str:
    """A Markdown table of sources."""
    lines = ["| name in the data | what | transcribed by | licence |", "|---|---|---|---|"]
    lines += [f"| {one.key} | {one.title} | {one.credit} | {one.licence} |" for one in sources]
    return "\n".join(lines)


def credits_list(sources: Sequence[Source] = SOURCES) -> list[str]:
    """One line a source, for config.json."""
    return [f"{one.title.replace('*', '')}: {one.credit} ({one.licence})" for one in sources]
