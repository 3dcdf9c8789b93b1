"""Tiles of the CPU's products against plain ones, and inputs as whole numbers."""

from collections.abc import Sequence

import pytest
import torch
from numba import njit
from torch import Tensor

from rwkv_music_kernels.cpu.matvec import BFLOAT16, FLOAT32, INT8, MULTIPLY, PAIR, PANEL, TILE_ROWS, TILES
from rwkv_music_kernels.cpu.pack import Packed, pack, unpack
from rwkv_music_kernels.cpu.whole import make_whole, whole_floats

KINDS = [FLOAT32, BFLOAT16, INT8]
OUTPUTS, ROWS = 2 * PANEL, max(TILE_ROWS)


@njit
def made_whole(out, x, inputs, blocks):
    make_whole(out, x, inputs, blocks)


def inputs_of(packed: Packed, x: Tensor) -> Tensor:
    """Rows as the tiles take them."""
    if packed.kind != INT8:
        return x
    rows = torch.full((len(x), whole_floats(packed.inputs, packed.blocks)), torch.nan)
    for row, own in zip(rows, x, strict=True):
        made_whole(row.data_ptr(), own.data_ptr(), packed.inputs, packed.blocks)
    return rows


def product(packed: Packed, x: Tensor, tile: int, stretches: Sequence[tuple[int, int]] = ()) -> Tensor:
    """(rows of the tile, outputs), panel by panel or both at once; the inputs from one place to another at a time."""
    rows, room = inputs_of(packed, x), torch.full((ROWS * OUTPUTS,), torch.nan)
    panels, kind = [], packed.kind
    for panel in (0,) if tile == PAIR else (0, 1):
        for start, stop in stretches or [(0, packed.inputs)]:
            weights = packed.panels[panel, start:].data_ptr()
            sizes = packed.blocks, stop - start, (stop - start) // packed.blocks
            MULTIPLY[kind].compiled.ctypes(
                *(tile, rows[:, start:].data_ptr(), rows.shape[1], weights, packed.panels[0].nbytes),
                *(packed.scales[panel:].data_ptr(), *sizes, room.data_ptr(), start),
            )
        panels.append(room[: TILE_ROWS[tile] * OUTPUTS // (1 if tile == PAIR else 2)].clone())
    return torch.cat([part.view(TILE_ROWS[tile], -1) for part in panels], dim=1)


def matrix_and_rows(inputs: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(inputs)
    return torch.randn(OUTPUTS, inputs, generator=draw), torch.randn(ROWS, inputs, generator=draw)


@pytest.mark.parametrize("inputs", [32, 96, 256])
@pytest.mark.parametrize("kind", KINDS)
def test_every_tile_is_the_plain_product_to_the_same_bits(kind, inputs):
    matrix, x = matrix_and_rows(inputs)
    packed = pack(matrix, kind, 64)
    exact = x.double() @ unpack(packed).double().T
    first = product(packed, x, PAIR)
    for tile, rows in enumerate(TILE_ROWS):
        found = product(packed, x, tile)
        torch.testing.assert_close(found.double(), exact[:rows], rtol=0, atol=2e-3 if kind == INT8 else 1e-4)
        assert torch.equal(found[0], first[0])


@pytest.mark.parametrize("kind", [FLOAT32, BFLOAT16])
def test_sums_go_on_to_the_same_bits(kind):
    matrix, x = matrix_and_rows(256)
    packed = pack(matrix, kind, 64)
    for tile in range(len(TILE_ROWS)):
        whole = product(packed, x, tile)
        assert torch.equal(product(packed, x, tile, [(0, 96), (96, 224), (224, 256)]), whole)


def test_the_greatest_weights_and_inputs_do_not_overflow():
    matrix, x = torch.full((OUTPUTS, 1024), -1.0), torch.full((ROWS, 1024), 3.0)
    found = product(pack(matrix, INT8, 512), x, PAIR)
    torch.testing.assert_close(found, torch.full((1, OUTPUTS), -3072.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_stays_none(bad):
    matrix, x = matrix_and_rows(128)
    x[0, 70] = bad
    assert not product(pack(matrix, INT8, 64), x, PAIR).isfinite().any()


@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-30, 1.0, 1e30])
def test_whole_numbers_are_as_near_as_their_scale(size):
    x = torch.randn(1, 128, generator=torch.Generator().manual_seed(2)) * size
    row = inputs_of(pack(torch.ones(OUTPUTS, 128), INT8, 64), x)[0]
    found, scales = row[:64].view(torch.int16).view(2, 64), row[64:]
    back = (found.double() * scales[:, None].double()).view(-1)
    most = x.double().abs().view(2, 64).amax(1).repeat_interleave(64)
    assert ((back - x[0].double()).abs() <= most / 65000 + 1e-37).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_unpacked_matrix_is_the_one_that_was_packed(kind):
    matrix = torch.randn(45, 70, generator=torch.Generator().manual_seed(3))
    found = unpack(pack(matrix, kind, 64))[:, :70]
    within = {FLOAT32: 0, BFLOAT16: 2**-8, INT8: 1 / 127}[kind]
    assert found.shape == matrix.shape and (found - matrix).abs().max() <= within * matrix.abs().max()


def test_tiles_hold_pairs_of_inputs_for_half_a_panel_side_by_side():
    matrix = torch.arange(64.0 * 32).view(32, 64).bfloat16()
    found = pack(matrix, BFLOAT16, halves=TILES).panels.view(2, 2, 16, 16, 2)
    for tile, half, pair, output in ((0, 0, 0, 0), (0, 1, 3, 2), (1, 0, 15, 9), (1, 1, 8, 15)):
        inputs = tile * 32 + pair * 2
        assert torch.equal(found[tile, half, pair, output], matrix[half * 16 + output, inputs : inputs + 2])


def test_float32_that_fits_bfloat16_is_kept_as_that_and_nothing_else_is():
    matrix = torch.randn(45, 70, generator=torch.Generator().manual_seed(4)).bfloat16()
    for given in (matrix, matrix.float()):
        packed = pack(given, FLOAT32)
        assert packed.kind == BFLOAT16 and torch.equal(unpack(packed)[:, :70], matrix.float())
        tiles = pack(given, FLOAT32, halves=TILES)
        assert tiles.kind == TILES and torch.equal(unpack(tiles)[:, :70], matrix.float())
    beside = torch.cat([torch.ones(1).bfloat16(), matrix.flatten()])[1:].view_as(matrix)
    assert torch.equal(unpack(pack(beside, FLOAT32, halves=TILES))[:, :70], matrix.float())
    finer = matrix.float()
    finer[44, 69] = 1 + 2**-12
    assert pack(finer, FLOAT32).kind == FLOAT32
