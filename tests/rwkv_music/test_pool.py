"""Pieces in a pool go on as they would alone, whoever joins and leaves.

`TRITON_INTERPRET=1 pytest tests/rwkv_music/test_pool.py` runs the facts of Triton's step one by one.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music.pool import PoolError, SlotPool
from rwkv_music.running import TorchRunner
from rwkv_music.sampling import Recipe, Sampler, SamplingOptions
from rwkv_music.stepping.slots import SLOT, TOKEN, WIDTH, PooledModel
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_kernels.slots import OVERFLOW, PlainSlots

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
VOCABULARY = 60
OPTIONS = [
    SamplingOptions(temperature=1.0, top_p=1.0, seed=1),
    SamplingOptions(temperature=0.0, seed=2),
    SamplingOptions(temperature=1.2, top_p=0.8, top_k=20, seed=3),
    SamplingOptions(temperature=1.0, top_p=0.9, min_p=0.05, seed=4),
    SamplingOptions(temperature=1.0, top_p=0.7, seed=5, recipe=Recipe(penalty=0.5, penalty_decay=0.9)),
]


def in_torch(version: str, head_size: int = 32) -> Engine:
    spec = standard_spec(version, 2, 64, VOCABULARY, head_size=head_size)
    model = build_model(spec, dict(RandomWeights(spec)), ReferenceKernels())
    return Engine(spec, TorchRunner(model, apart=True))


def in_numba(version: str) -> Engine:
    from rwkv_music.stepping.runner import CpuRunner

    spec = standard_spec(version, 2, 64, VOCABULARY, head_size=32)
    return Engine(spec, CpuRunner(spec, RandomWeights(spec), "float32"))


every_way = pytest.mark.parametrize("way", [in_torch, in_numba])


def prompt(number: int) -> list[int]:
    return [(7 * number + 3 * place) % VOCABULARY for place in range(2 + number)]


def heard(engine: Engine, number: int) -> State:
    """The state before the prompt's last token."""
    return engine.advance(prompt(number)[:-1])[1]


def alone(engine: Engine, number: int, count: int) -> tuple[list[int], State]:
    """A piece written by the engine and the sampler of its options, and its state before the last token."""
    state, token, sampler, tokens = heard(engine, number), prompt(number)[-1], Sampler(OPTIONS[number]), []
    for _ in range(count):
        logits, state = engine.advance([token], state)
        token = sampler.choose(logits.numpy())
        sampler.follow(token)
        tokens.append(token)
    return tokens, state


def admitted(pool: SlotPool, number: int) -> int:
    return pool.admit(heard(pool.engine, number), prompt(number)[-1], Sampler(OPTIONS[number]))


def assert_states(found: State, right: State, within: float) -> None:
    for one, other in zip(found.tensors().values(), right.tensors().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


@every_way
@pytest.mark.parametrize("version", VERSIONS)
def test_pieces_that_join_and_leave_are_written_as_alone(way, version):
    engine = way(version)
    pool, tokens = SlotPool(engine, 3), {number: [] for number in range(5)}
    slots = {admitted(pool, 0): 0}
    # When a piece joins, and after how many steps it leaves.
    joins, lengths = {2: [1, 2], 5: [3], 7: [4]}, [9, 3, 5, 4, 6]
    for step in range(14):
        for number in joins.get(step, []):
            slots[admitted(pool, number)] = number
        drawn = pool.step()
        assert set(drawn) == set(slots)
        for slot, token in drawn.items():
            number = slots[slot]
            tokens[number].append(token)
            if len(tokens[number]) == lengths[number]:
                right, state = alone(engine, number, lengths[number])
                assert tokens[number] == right
                assert_states(pool.state_of(slot), state, 0 if way is in_numba else 1e-5)
                pool.release(slot)
        slots = {slot: number for slot, number in slots.items() if len(tokens[number]) < lengths[number]}
    assert not slots and pool.free == 3 and pool.step() == {}


@every_way
def test_a_piece_goes_on_from_another_state(way):
    pool = SlotPool(way("7"), 2)
    one, two = admitted(pool, 0), admitted(pool, 1)
    pool.step()
    before = pool.state_of(one)
    pool.put_state(two, before)
    assert_states(pool.state_of(two), before, 0)
    pool.step()
    assert not torch.equal(pool.state_of(one).wkv, before.wkv)


@every_way
def test_what_is_forbidden_does_not_come_until_it_is_allowed_again(way):
    engine = way("7")
    pool = SlotPool(engine, 2)
    slot, other = admitted(pool, 1), admitted(pool, 2)
    likeliest = alone(engine, 1, 1)[0][0]
    mask = np.zeros(VOCABULARY, dtype=bool)
    mask[likeliest] = True
    pool.forbid(slot, mask)
    start = pool.state_of(slot)
    drawn = pool.step()
    assert drawn[slot] != likeliest and drawn[other] == alone(engine, 2, 1)[0][0]
    pool.release(slot)
    assert pool.admit(start, prompt(1)[-1], Sampler(OPTIONS[1])) == slot
    assert pool.step()[slot] == likeliest


@every_way
@pytest.mark.filterwarnings("ignore:invalid value")
def test_logits_that_are_no_numbers_are_told_and_the_other_pieces_go_on(way):
    engine = way("7")
    pool = SlotPool(engine, 2)
    broken, sound = admitted(pool, 1), admitted(pool, 2)
    state = pool.state_of(broken)
    pool.put_state(broken, State(state.time_shift * torch.nan, state.channel_shift, state.wkv))
    drawn = [pool.step() for _ in range(3)]
    assert [step[broken] for step in drawn] == [OVERFLOW] * 3
    assert [step[sound] for step in drawn] == alone(engine, 2, 3)[0]


def test_wrong_use_is_told():
    pool = SlotPool(in_torch("7"), 1)
    with pytest.raises(ValueError, match="at least one slot"):
        SlotPool(pool.engine, 0)
    with pytest.raises(ValueError, match="a token must be in 0..59, not 60"):
        pool.admit(None, 60, Sampler(OPTIONS[0]))
    with pytest.raises(ValueError, match="the state is"):
        pool.admit(State.zeros(standard_spec("7", 3, 64, 9)), 0, Sampler(OPTIONS[0]))
    for use in (pool.release, pool.state_of, lambda slot: pool.forbid(slot, None)):
        with pytest.raises(ValueError, match="no piece is in slot 0"):
            use(0)
    pool.admit(None, 0, Sampler(OPTIONS[0]))
    with pytest.raises(PoolError, match="all 1 slots of the pool are taken"):
        pool.admit(None, 0, Sampler(OPTIONS[0]))


def stepped(engine: Engine, kernels: type[PlainSlots], slots: Sequence[int]) -> tuple[list[int], Tensor, State]:
    """A step of the greedy pieces that lie in some of four slots full of noise."""
    assert isinstance(engine.runner, TorchRunner)
    draw = torch.Generator().manual_seed(3)
    blank = State.zeros(engine.spec, 4)
    memory = State(*(0.3 * torch.randn(x.shape, generator=draw).abs() for x in blank.tensors().values()))
    pooled = PooledModel(
        engine.spec, engine.runner.model.weights, kernels, memory, torch.zeros(4, VOCABULARY, dtype=torch.bool)
    )
    given = np.zeros((len(slots), WIDTH))
    given[:, TOKEN], given[:, SLOT] = [5 + slot for slot in slots], slots
    tokens, logits = pooled.step(given)
    return tokens, logits, memory


@pytest.mark.skipif(not INTERPRETED, reason="run by the next test, which starts the interpreter")
@pytest.mark.parametrize("version", VERSIONS)
def test_triton_steps_as_plain_torch_does(version):
    from rwkv_music_kernels.triton.decode import TritonSlots

    engine = in_torch(version)
    tokens, logits, memory = stepped(engine, TritonSlots, [2, 0, 3])
    right, right_logits, right_memory = stepped(engine, PlainSlots, [2, 0, 3])
    assert tokens == right
    torch.testing.assert_close(logits, right_logits, rtol=1e-4, atol=1e-4)
    assert_states(memory, right_memory, 1e-4)


@pytest.mark.skipif(INTERPRETED, reason="this starts the interpreter")
def test_the_interpreter_finds_triton_stepping_as_plain_torch_does():
    pytest.importorskip("triton", reason="the extra `gpu` is not installed", exc_type=ImportError)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "triton_steps", __file__]
    quick = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env={**os.environ, **quick}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{len(VERSIONS)} passed" in done.stdout


def on_gpu(version: str, dtype: str) -> Engine:
    from rwkv_music.running import choose_runner

    spec = standard_spec(version, 3, 256, VOCABULARY)
    return Engine(spec, choose_runner(spec, RandomWeights(spec), "cuda", dtype), device="cuda", dtype=dtype)


@pytest.mark.cuda
@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_steps_write_what_the_engine_writes(version):
    engine = on_gpu(version, "float32")
    pool, greedy = SlotPool(engine, 8), SamplingOptions(temperature=0.0)
    # Three rows are padded to four, whose graph is then used again; one row has a graph of its own.
    slots = [pool.admit(None, token, Sampler(greedy)) for token in (3, 4, 5)]
    tokens = [pool.step() for _ in range(20)]
    for slot, first in zip(slots, (3, 4, 5), strict=True):
        token, state = first, None
        for drawn in tokens:
            logits, state = engine.advance([token], state)
            token = drawn[slot]
            assert logits[token] >= logits.max() - 1e-3
        assert state is not None
        assert_states(pool.state_of(slot), state, 1e-3)
    for slot in slots[1:]:
        pool.release(slot)
    assert len(pool.step()) == 1


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_piece_is_the_same_bits_alone_and_among_sixty_four(version, dtype):
    engine = on_gpu(version, dtype)
    options = [SamplingOptions(temperature=1.0, top_p=0.9, seed=seed) for seed in range(64)]
    together = SlotPool(engine, 64)
    for seed, own in enumerate(options):
        together.admit(None, seed % VOCABULARY, Sampler(own))
    tokens = [together.step() for _ in range(30)]
    for seed in (0, 17, 63):
        pool = SlotPool(engine, 64)
        slot = pool.admit(None, seed % VOCABULARY, Sampler(options[seed]))
        assert [pool.step()[slot] for _ in range(30)] == [drawn[seed] for drawn in tokens]
        assert_states(pool.state_of(slot), together.state_of(seed), 0)
