"""The draw on the device, in plain torch and in Triton, takes the token that the `Sampler` of the CPU takes.

`TRITON_INTERPRET=1 pytest tests/kernels/test_triton_sample.py` runs the facts of the Triton kernel one by one.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rwkv_music.sampling import Sampler, SamplingOptions
from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.slots import OVERFLOW, PlainSlots

pytest.importorskip("triton", reason="the extra `gpu` is not installed", exc_type=ImportError)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
on_device = pytest.param("triton", marks=pytest.mark.filterwarnings("default") if INTERPRETED else pytest.mark.cuda)
every_draw = pytest.mark.parametrize("backend", ["plain", on_device])

OPTIONS = [
    SamplingOptions(temperature=1.0, top_p=1.0),
    SamplingOptions(temperature=0.0, top_p=0.5),
    SamplingOptions(temperature=0.7, top_p=0.9),
    SamplingOptions(temperature=1.3, top_p=1.0, top_k=7),
    SamplingOptions(temperature=1.0, top_p=0.6, top_k=20),
    SamplingOptions(temperature=2.0, top_p=1.0, min_p=0.2),
    SamplingOptions(temperature=1.1, top_p=0.8, top_k=40, min_p=0.05),
    SamplingOptions(temperature=100.0, top_p=0.01),
    SamplingOptions(temperature=1.0, top_p=1.0, top_k=2**31 - 1, min_p=1.0),
    SamplingOptions(temperature=1.0, top_p=0.6, top_k=9, top_p_first=True),
    SamplingOptions(temperature=1.0, top_p=0.95, top_k=3, top_p_first=True),
]


def draw(
    backend: str, logits: Tensor, options: Sequence[SamplingOptions], uniforms: Tensor, forbidden: Tensor | None = None
) -> list[int]:
    settings = torch.tensor(
        [[o.temperature, o.top_k, o.top_p, o.min_p, o.top_p_first] for o in options], dtype=torch.float64
    )
    if backend == "plain":
        return PlainSlots(torch.zeros(0)).draw(logits, settings, uniforms, forbidden).tolist()
    from rwkv_music_kernels.triton.sample import draw_rows

    forbidden = forbidden if forbidden is None else forbidden.to(DEVICE)
    return draw_rows(logits.to(DEVICE), settings.to(DEVICE), uniforms.to(DEVICE), forbidden).tolist()


def drawn_by_sampler(logits: Tensor, options: SamplingOptions, draws: int) -> int:
    return Sampler(options, draws).choose(logits.numpy())


def uniforms(options: Sequence[SamplingOptions], draws: int) -> Tensor:
    """What the samplers of these options draw next."""
    raw = [int(np.random.PCG64(o.seed).advance(draws).random_raw()) for o in options]
    return torch.tensor([(number >> 11) * 2.0**-53 for number in raw], dtype=torch.float64)


def random_logits(rows: int, vocabulary: int, seed: int) -> Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


@every_draw
@pytest.mark.parametrize("vocabulary", [1, 5, 128])
def test_every_option_draws_what_the_sampler_draws(backend, vocabulary):
    for draws in range(2):
        logits = random_logits(len(OPTIONS), vocabulary, draws)
        expected = [drawn_by_sampler(x, o, draws) for x, o in zip(logits, OPTIONS, strict=True)]
        assert draw(backend, logits, OPTIONS, uniforms(OPTIONS, draws)) == expected


@every_draw
def test_of_equal_logits_the_lower_ids_stay(backend):
    logits = torch.tensor([1.0, 2.0, 2.0, 2.0, 0.0, 2.0, -0.0, 2.0]).repeat(4, 1)
    places = torch.arange(4, dtype=torch.float64) / 4
    for options in (
        SamplingOptions(temperature=1.0, top_p=1.0, top_k=2),
        SamplingOptions(temperature=1.0, top_p=1.0, top_k=7),
        SamplingOptions(temperature=1.0, top_p=0.3),
        SamplingOptions(temperature=0.5, top_p=0.5, top_k=4),
    ):
        expected = draw("plain", logits, [options] * 4, places)
        assert draw(backend, logits, [options] * 4, places) == expected
    # 2 of the 5 equals, in two halves; the plain draw itself is held to the sampler above.
    two = draw(backend, logits, [SamplingOptions(temperature=1.0, top_p=1.0, top_k=2)] * 4, places)
    assert two == [1] * 2 + [2] * 2


@every_draw
def test_a_vocabulary_of_several_pieces(backend, monkeypatch):
    if backend == "triton":
        from rwkv_music_kernels.triton import sample

        monkeypatch.setattr(sample, "PIECE", 64)
    logits = random_logits(len(OPTIONS), 300, 9)
    logits[:, 60:70] = logits.amax(dim=-1, keepdim=True)
    expected = [drawn_by_sampler(x, o, 3) for x, o in zip(logits, OPTIONS, strict=True)]
    assert draw(backend, logits, OPTIONS, uniforms(OPTIONS, 3)) == expected


@every_draw
def test_what_is_forbidden_never_comes(backend):
    logits = random_logits(len(OPTIONS), 40, 1)
    forbidden = torch.zeros(len(OPTIONS), 40, dtype=torch.bool)
    forbidden.scatter_(1, logits.topk(15).indices, True)
    for place in (0.0, 1 - 2.0**-53):
        places = torch.full((len(OPTIONS),), place, dtype=torch.float64)
        masked = logits.masked_fill(forbidden, -torch.inf)
        found = draw(backend, logits, OPTIONS, places, forbidden)
        assert found == draw("plain", masked, OPTIONS, places)
        assert not forbidden[torch.arange(len(OPTIONS)), torch.tensor(found)].any()


@every_draw
def test_the_last_place_is_the_last_token_that_has_odds(backend):
    logits = torch.tensor([[0.0, 1.0, 0.5, -torch.inf]])
    last = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    assert draw(backend, logits, [SamplingOptions(temperature=1.0, top_p=1.0)], last) == [2]
    first = torch.zeros(1, dtype=torch.float64)
    assert draw(backend, logits.flip(1), [SamplingOptions(temperature=1.0, top_p=1.0)], first) == [1]


@every_draw
def test_logits_that_are_no_numbers_are_told_and_the_other_rows_go_on(backend):
    logits = random_logits(5, 33, 2)
    logits[0, 3], logits[1, 0], logits[2, 32], logits[3] = torch.nan, torch.inf, -torch.inf, -torch.inf
    options = [SamplingOptions(temperature=1.0, top_p=0.9)] * 5
    found = draw(backend, logits, options, uniforms(options, 0))
    assert [token == OVERFLOW for token in found] == [True, True, False, True, False]
    assert found[4] == drawn_by_sampler(logits[4], options[4], 0)


@every_draw
def test_a_row_does_not_know_of_the_others(backend):
    logits, places = random_logits(len(OPTIONS), 128, 3), uniforms(OPTIONS, 1)
    together = draw(backend, logits, OPTIONS, places)
    apart = [draw(backend, logits[i : i + 1], OPTIONS[i : i + 1], places[i : i + 1])[0] for i in range(len(OPTIONS))]
    assert together == apart


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"logits": torch.zeros(1, 4).double()}, "drawn from as float32"),
        ({"settings": torch.zeros(2, 4).double()}, r"settings \(1, 5\)"),
        ({"forbidden": torch.zeros(1, 3, dtype=torch.bool)}, r"bool of shape \(1, 4\)"),
    ],
)
def test_a_broken_contract_is_told(change, rule):
    from rwkv_music_kernels.triton.sample import draw_rows

    given = {"logits": torch.zeros(1, 4), "settings": torch.zeros(1, 5).double(), "uniforms": torch.zeros(1).double()}
    with pytest.raises(KernelError, match=rule):
        draw_rows(**{"forbidden": None, **given, **change})


@pytest.mark.skipif(INTERPRETED, reason="this starts the interpreter")
def test_the_interpreter_finds_all_of_this_true():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-k",
        "not plain",
        __file__,
    ]
    quick = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env={**os.environ, **quick}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
