"""What a model in training writes, to be looked at and listened to: ABC, MIDI and a piano roll of each opening."""

from pathlib import Path

import numpy as np
import torch

from rwkv_music.errors import UserError
from rwkv_music.files import write_whole
from rwkv_music.manuscripts.choose import check_size
from rwkv_music.music.roll import roll
from rwkv_music.music.take import played_notes
from rwkv_music.works import Played, Tune
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_training.judging.pieces import performance_of
from rwkv_music_training.judging.predictors import ModelPredictor
from rwkv_music_training.judging.writing import Opening, opening_of, write
from rwkv_music_training.learning.watching import Begun, Quiet, Sample

# New tokens of a sample: enough to hear what it is like, soon written.
LONGEST = 400


class Listener(Quiet):
    """Writes step-N-K.abc, .mid and .svg into the samples of a run, K counting the openings of its config."""

    def __init__(self) -> None:
        self._openings: list[Opening] = []
        self._language = ""
        self._temperature = self._top_p = 1.0
        self._seed = 1

    def begin(self, event: Begun) -> None:
        """See `Watcher`. Raises UserError for an opening that its code cannot say."""
        habits = event.config.habits
        try:
            self._language = check_size("", event.spec.vocabulary)
        except UserError:
            # A code of somebody else: nothing to be heard.
            return
        self._temperature, self._top_p, self._seed = habits.temperature, habits.top_p, event.config.seed
        self._openings = [opening_with(self._language, prompt) for prompt in habits.prompts]

    def sample(self, event: Sample) -> None:
        """See `Watcher`."""
        predictor = ModelPredictor(event.model, event.start)
        threads = torch.get_num_threads()
        for number, opening in enumerate(self._openings, start=1):
            (piece,) = write(
                predictor,
                1,
                opening,
                masked=False,
                temperature=self._temperature,
                top_p=self._top_p,
                seed=self._seed + number,
                longest=LONGEST,
            )
            keep(piece.ids, self._language, event.folder / f"step-{event.step:07d}-{number}")
        torch.set_num_threads(threads)


def opening_with(language: str, prompt: str) -> Opening:
    """What begins a document, and a prompt in the words of its code. Raises UserError."""
    opening = opening_of(language)
    if not prompt:
        return opening
    if language == "abc":
        ids = AbcTokenizer().encode(prompt)
    elif language == "notes":
        try:
            ids = [int(one) for one in NoteTokenizer().from_text(prompt)]
        except ValueError as error:
            raise UserError(f"habits.prompts: {error}") from None
    else:
        raise UserError(f"habits.prompts: models of '{language}' are only sampled from nothing")
    grammar = opening.grammar.clone()
    for token in ids:
        grammar.follow(token)
    return Opening((*opening.ids, *ids), opening.end, grammar)


def keep(ids: np.ndarray, language: str, path: Path) -> None:
    """Write a document as path.abc, path.mid and path.svg, as far as there is music in it."""
    if language == "abc":
        text = AbcTokenizer().decode(ids.tolist())
        write_whole(path.with_suffix(".abc"), f"X:1\nT:{path.name}\n{text.rstrip()}\n".encode())
    try:
        performance = performance_of(ids, language)
        notes = played_notes(performance)
        if not notes:
            return
        if language == "abc":
            midi = Tune(f"X:1\nT:{path.name}\n{AbcTokenizer().decode(ids.tolist())}").midi()
        else:
            played = Played(performance)
            midi = played.midi((path.name,))
        write_whole(path.with_suffix(".mid"), midi)
        write_whole(path.with_suffix(".svg"), roll(notes).encode())
        if language != "abc":
            write_whole(path.with_suffix(".abc"), Played(performance).abc.encode())
    except (NotationError, ValueError):
        # What a model writes early on may be no music that can be played or written; the files there are tell it.
        return
