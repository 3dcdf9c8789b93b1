"""Products in tiles, the processor's or those of their slow twin: as exact as float32, and the same bits for a row in any company."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu import program
from rwkv_music_kernels.cpu.program import Program
from rwkv_music_kernels.cpu.team import Team
from rwkv_music_kernels.cpu.tiles import rows_at_once


@pytest.fixture(autouse=True)
def tiles(monkeypatch):
    """Weights are packed for tiles, whatever the processor has."""
    monkeypatch.setattr(program, "has_tiles", lambda: True)


def product(matrix: Tensor, *xs: Tensor, threads: int = 1, **options) -> Sequence[Tensor]:
    """What a program gives, (rows, outputs) for each x, (rows, inputs); all else in its memory is NaN."""
    written, (outputs, inputs), rows = Program("float32"), matrix.shape, len(xs[0])
    starts, outs = ([written.buffer(width) for _ in xs] for width in (inputs, outputs))
    packed = written.matrix(matrix)
    for start, out in zip(starts, outs, strict=True):
        written.product(start, packed, out, **options)
    scratch = torch.full((rows, written.pitch), torch.nan)
    for x, start in zip(xs, starts, strict=True):
        scratch[:, start : start + inputs + -inputs % 32] = 0
        scratch[:, start : start + inputs] = x
    rooms = torch.full((threads, written.room), torch.nan)
    call = np.zeros(at.CALL_SIZE, dtype=np.int64)
    call[[at.PIECES, at.LENGTH, at.SCRATCH_AT, at.PITCH, at.ROOMS_AT, at.ROOM_PITCH]] = (
        *(1, rows, scratch.data_ptr(), written.pitch),
        *(rooms.data_ptr(), written.room),
    )
    Team().run(written.table(), call, threads)
    return [scratch[:, out : out + outputs] for out in outs]


def matrix_and_rows(outputs: int, inputs: int, rows: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(outputs + inputs)
    matrix = torch.randn(outputs, inputs, generator=draw).bfloat16()
    # Of very different sizes, none of them a bfloat16.
    return matrix, torch.randn(rows, inputs, generator=draw) * torch.logspace(-12, 12, inputs)


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 32, 33, 63, 65, 257])
@pytest.mark.parametrize("outputs, inputs", [(32, 32), (45, 70), (64, 256), (97, 3072)])
def test_products_are_those_of_floats(outputs, inputs, rows):
    matrix, x = matrix_and_rows(outputs, inputs, rows)
    (found,) = product(matrix, x)
    # Of each sum so much as roundings make of floats that are added one by one.
    within = 2.0**-22 * (x.double().abs() @ matrix.double().abs().T)
    assert ((found.double() - x.double() @ matrix.double().T).abs() <= within).all()


@pytest.mark.parametrize("inputs", [64, 3072])
def test_a_row_is_the_same_bits_in_any_company(inputs):
    matrix, x = matrix_and_rows(70, inputs, 300)
    (whole,) = product(matrix, x)
    assert rows_at_once(3072) < 100 < 200 < rows_at_once(64)
    for first, end in ((0, 1), (17, 18), (3, 9), (16, 32), (100, 117), (20, 61), (150, 281)):
        assert torch.equal(product(matrix, x[first:end])[0], whole[first:end])


@pytest.mark.parametrize("rows", [3, 200])
def test_threads_give_the_same_bits_and_each_step_has_its_own_inputs(rows):
    matrix, x = matrix_and_rows(300, 96, rows)
    for threads in (1, 2, 3):
        one, other = product(matrix, x, x.flip(0), threads=threads)
        assert torch.equal(one, product(matrix, x)[0]) and torch.equal(other, one.flip(0))


def test_what_comes_behind_the_sums_is_that_of_every_product():
    matrix, x = matrix_and_rows(64, 64, 20)
    (plain,), offset = product(matrix, x / 1e12), torch.linspace(-1, 1, 64)
    (found,) = product(matrix, x / 1e12, offset=offset, activation=at.SQUARED_RELU)
    torch.testing.assert_close(found, (plain + offset).relu() ** 2)


def test_no_rows_give_nothing():
    matrix, x = matrix_and_rows(64, 64, 0)
    assert product(matrix, x)[0].shape == (0, 64)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_stays_none_and_in_its_row(bad):
    matrix, x = matrix_and_rows(64, 64, 20)
    x[7, 33] = bad
    (found,) = product(matrix, x)
    assert not found[7].isfinite().any() and found[[n for n in range(20) if n != 7]].isfinite().all()
