"""Music for programs and notebooks: open a model, have it make takes, keep them, and go on from any of them."""

from rwkv_music.judging import BarBits, Verdict
from rwkv_music.limiting import read_limits
from rwkv_music.music.events import Bar, Done, Event, Token
from rwkv_music.music.model import Model
from rwkv_music.music.prompt import Prompt
from rwkv_music.music.settings import Beginning, How
from rwkv_music.music.take import PlayedNote, Take
from rwkv_music.music.tree import Session
from rwkv_music_tokenizers.grammar import Limits

__all__ = [
    "Bar",
    "BarBits",
    "Beginning",
    "Done",
    "Event",
    "How",
    "Limits",
    "Model",
    "PlayedNote",
    "Prompt",
    "Session",
    "Take",
    "Token",
    "Verdict",
    "read_limits",
]
