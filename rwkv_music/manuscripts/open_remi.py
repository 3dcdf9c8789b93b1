"""How a performance, or nothing, opens a piece in RWKV-Runner's REMI."""

from rwkv_music.errors import UsageError, UserError
from rwkv_music.manuscripts.open_notes import first_bars
from rwkv_music.manuscripts.remi import PROMPT_LIMIT, RemiManuscript, tokenizer
from rwkv_music.manuscripts.wishes import NO_WISHES, Wishes
from rwkv_music.opening import Header
from rwkv_music_tokenizers.performance import Performance


def open_remi(played: Performance | None = None, wishes: Wishes = NO_WISHES) -> RemiManuscript:
    """The manuscript that goes on from a performance, or begins a piece.

    Raises UserError without MidiTok, for a prompt that is too long or has no note that REMI can say, and for wishes
    that it has no words for.
    """
    header = wishes.header
    if wishes.instruments or header != Header(title=header.title):
        raise UsageError(
            "a model of 'remi' knows neither key, meter, tempo nor a list of instruments: "
            "give a prompt that has them, or --only to keep to some"
        )
    try:
        codec = tokenizer()
        if played is None:
            return RemiManuscript((), header.title)
        piece = played if wishes.prompt_bars is None else first_bars(played, wishes.prompt_bars)
        ids = tuple(codec.encode(piece))
    except ValueError as error:
        raise UserError(str(error)) from None
    if not ids:
        raise UserError("no note of the prompt is one of 'remi': its pitches are 21 to 109, its drums 27 to 88")
    if len(ids) > PROMPT_LIMIT:
        raise UserError(f"the prompt is {len(ids):,} tokens; at most {PROMPT_LIMIT:,} can be heard (--prompt-bars)")
    return RemiManuscript(ids, header.title or piece.title)
