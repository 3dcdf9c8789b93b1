"""Samples are held to a grammar while they are drawn."""

import numpy as np
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_tokenizers.note_grammar import NoteGrammar
from rwkv_music_tokenizers.note_vocabulary import BOS, EOS
from rwkv_music_training.judging.order import in_order
from rwkv_music_training.samples import sample_ids


def model(head: float):
    """A new model whose logits are scaled by `head`: 0 makes every id as likely as every other."""
    weights = initial_weights(new_spec(2, 64, 896), torch.Generator().manual_seed(0))
    weights["head.weight"] = head * weights["head.weight"]
    return build_model(new_spec(2, 64, 896), weights, choose_kernels("cpu"))


def test_a_grammar_holds_what_is_written():
    grammar = NoteGrammar([BOS])
    for ids in sample_ids(model(3.0), 3, [BOS], EOS, max_length=200, grammar=grammar):
        assert in_order(np.array([BOS, *ids, *[EOS][len(ids) == 200 :]], dtype=np.uint16))
    assert np.array_equal(grammar.allowed(), NoteGrammar([BOS]).allowed())
