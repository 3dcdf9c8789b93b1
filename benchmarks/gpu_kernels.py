"""The recurrences and what surrounds them on a GPU: how exact, and how near to what its memory allows."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, TypeAlias

import roofline
import torch
from roofline import Card, limited, seconds
from torch import Tensor

from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_kernels.contract import LEAST_LOG_DECAY, NO_LOGARITHM
from rwkv_music_kernels.elementwise import PlainElementwise
from rwkv_music_kernels.reference import ReferenceKernels

Operator: TypeAlias = Callable[..., tuple[Tensor, ...]]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Versions with a recurrence of their own; 5 runs on that of 6.
RECURRENCES = ("4", "6", "7")
# The largest relative error, root mean square, of results and gradients.
ERROR_GOALS = {"float32": 1e-6, "bfloat16": 3e-3}
# Forward and backward of RWKV-7 on an H100 or newer.
WKV_GOALS_MS = {"8x4096x64x64": 8.0}


def errors(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """The largest relative error of results and gradients, against the reference in float64."""
    for version, (dtype, goal) in product(options.versions, ERROR_GOALS.items()):
        inputs = recurrence_inputs(version, (2, options.tokens, 2, 64), DTYPES[dtype], options.device)
        ours, truth = (getattr(of, f"wkv{version}") for of in (choose_kernels(options.device), ReferenceKernels()))
        right = with_gradients(truth, [x.double() for x in inputs])
        worst = max(relative(*pair) for pair in zip(with_gradients(ours, inputs), right, strict=True))
        row = {"measure": "errors", "version": version, "dtype": dtype, "worst": worst}
        yield row | {"goal": goal, "met": worst <= goal}


def wkv(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """The recurrences as a model of that version feeds them."""
    for version, batch, dtype in product(options.versions, options.batches, options.dtypes):
        sizes = [int(size) for size in batch.split("x")]
        inputs = recurrence_inputs(version, sizes, DTYPES[dtype], options.device)
        row = {"measure": "wkv", "version": version, "batch": batch, "dtype": dtype}
        for found in both_ways(row, getattr(choose_kernels(options.device), f"wkv{version}"), inputs, options, card):
            if version == "7" and found["way"] == "forward+backward" and batch in WKV_GOALS_MS:
                found |= {"goal_ms": WKV_GOALS_MS[batch], "met": found["ms"] <= WKV_GOALS_MS[batch]}
            yield found


def elementwise(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """What surrounds RWKV-7's recurrence, by the kernels of the device and in plain torch."""
    ours, plain = choose_kernels(options.device), PlainElementwise()
    for batch, dtype in product(options.batches, options.dtypes):
        rows, tokens, heads, size = (int(size) for size in batch.split("x"))
        x, rate, gate = (torch.rand(rows, tokens, heads * size, device=options.device).to(DTYPES[dtype]) for _ in "abc")
        y, bonus = (torch.randn(rows, tokens, heads, size, device=options.device) for _ in "ab")
        last, *vectors = torch.rand(rows + 6, heads * size, device=options.device).split([rows, *[1] * 6])
        vectors = [vector.flatten() for vector in vectors]
        for name, of in (("ours", ours), ("plain", plain)):
            operators: dict[str, tuple[Operator, list[Tensor]]] = {
                "shift_mix": (lambda x, last, *mixes, of=of: of.shift_mix(x, last, mixes), [x, last, *vectors]),
                "removal_key": (
                    lambda *given, of=of, heads=heads: of.removal_key(*given, heads),
                    [x, rate, *vectors[:2]],
                ),
                "read_out": (lambda *given, of=of: (of.read_out(*given),), [y, *vectors[:2], gate, bonus]),
                "squared_relu": (lambda x, of=of: (of.squared_relu(x),), [x]),
            }
            for operator, (function, inputs) in operators.items():
                row = {"measure": "elementwise", "operator": operator, "by": name, "batch": batch, "dtype": dtype}
                yield from both_ways(row, function, inputs, options, card)


def both_ways(
    row: dict[str, Any], function: Operator, inputs: list[Tensor], options: argparse.Namespace, card: Card
) -> Iterator[dict[str, Any]]:
    """An operator forward, then forward and backward."""
    with torch.inference_mode():
        outputs = function(*inputs)
        took = seconds(lambda: function(*inputs), options.rounds, options.device)
    yield limited(row | {"way": "forward"}, took, roofline.operator(inputs, outputs, False), card)
    took = seconds(lambda: with_gradients(function, inputs), options.rounds, options.device)
    yield limited(row | {"way": "forward+backward"}, took, roofline.operator(inputs, outputs, True), card)


def with_gradients(function: Operator, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Results and gradients, for gradients of ones."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    results = function(*leaves)
    gradients = torch.autograd.grad(results, leaves, [torch.ones_like(x) for x in results])
    return (*(x.detach() for x in results), *gradients)


def relative(found: Tensor, right: Tensor) -> float:
    """The root mean square of the difference, over that of what is right."""
    return float((found.double() - right).square().mean().sqrt() / right.square().mean().sqrt().clamp_min(1e-30))


def recurrence_inputs(version: str, batch: Sequence[int], dtype: torch.dtype, device: str) -> list[Tensor]:
    """What the model of that version gives its recurrence, the state last; version 4 has H N channels."""
    generator = torch.Generator(device).manual_seed(0)
    rows, _, heads, size = batch

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    if version == "4":
        shape = (*batch[:2], heads * size)
        state = torch.zeros(rows, 3, heads * size, device=device)
        state[:, 2] = NO_LOGARITHM
        pair = [noise(*shape).to(dtype) for _ in range(2)]
        return [*pair, -noise(heads * size).exp(), noise(heads * size), state]
    state = torch.zeros(rows, heads, size, size, device=device)
    if version == "6":
        r, k, v = (noise(*batch).to(dtype) for _ in range(3))
        return [r, k, v, (-noise(*batch).exp()).to(dtype), noise(heads, size), state]
    away = torch.nn.functional.normalize(noise(*batch), dim=-1)
    w, rate = LEAST_LOG_DECAY * noise(*batch).sigmoid(), noise(*batch).sigmoid()
    r, k, v = (noise(*batch) for _ in range(3))
    return [*(x.to(dtype) for x in (r, w, k, v, -away, away * rate)), state]
