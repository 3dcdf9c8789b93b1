"""How fast the kernels and the engine are on a GPU, beside what its memory and its products allow, and how exact.

    python benchmarks/gpu.py errors                                        # rms errors of every version, forward and backward
    python benchmarks/gpu.py same                                          # the same tokens alone and among 64
    python benchmarks/gpu.py wkv 7 --batches 8x4096x64x64 32x1024x12x64    # recurrences; also 4, 6
    python benchmarks/gpu.py elementwise
    python benchmarks/gpu.py decode 7 --shapes 12x768 24x1024 --rows 1 8 64 512 1024
    python benchmarks/gpu.py prefill 7 --tokens 1024
    python benchmarks/gpu.py train 7 --rows 16 --tokens 1024

Weights are random: they prove speed, never quality. Copy and product are timed in the same run; `share` is the least
time that they allow over the time taken. Medians of `--rounds`; `-o` writes JSON, `--plot` a picture of the shares.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_engine import decode, prefill, same, train
from gpu_kernels import DTYPES, RECURRENCES, elementwise, errors, wkv
from report import machine
from roofline import measured_card

VERSIONS = ("4", "5.0", "5.1", "5.2", "6", "7")
# The shape at which others publish, and two of music models.
BATCHES = ("8x4096x64x64", "32x1024x12x64", "16x1024x16x64")


def main() -> None:
    options = arguments()
    if not torch.cuda.is_available():
        raise SystemExit(
            "benchmarks/gpu.py: torch sees no GPU here, so there is nothing to measure; run it where one is"
        )
    card = measured_card(options.rounds, options.device)
    results: dict[str, Any] = {"machine": machine() | {"card": card.name}, "command": " ".join(sys.argv), "results": []}
    results["machine"] |= {"copy_gb_per_s": card.bytes_per_s / 1e9, "product_tflop_per_s": card.flops_per_s / 1e12}
    print(json.dumps(results["machine"]))
    for row in MEASURES[options.what](options, card):
        print(json.dumps(row), flush=True)
        results["results"].append(row)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.plot:
        plot(results["results"], options.plot)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure kernels and engine on this machine's GPU.")
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"of {', '.join(VERSIONS)}")
    parser.add_argument("--shapes", nargs="+", default=["12x768", "24x1024"], metavar="LxC", type=sizes_of(2))
    parser.add_argument("--batches", nargs="+", default=BATCHES, metavar="BxTxHxN", type=sizes_of(4))
    parser.add_argument("--vocabulary", type=int, default=20096)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["bfloat16"])
    parser.add_argument("--rows", type=int, nargs="+", help="default: 1, 2, 4 ... 1024 decoded, 8 read, 16 trained")
    parser.add_argument("--tokens", type=int, help="of a row (default: 1024, and 257 where errors are sought)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.set_defaults(device="cuda")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    parser.add_argument("--plot", type=Path, help="draw the shares of the limit")
    options = parser.parse_args(words)
    known = RECURRENCES if options.what in ("wkv", "errors") else VERSIONS
    options.versions = options.versions or (list(known) if options.what in ("wkv", "errors", "same") else ["7"])
    options.tokens = options.tokens or (257 if options.what == "errors" else 1024)
    if unknown := set(options.versions) - set(known):
        parser.error(f"no version {', '.join(sorted(unknown))} here; there are {', '.join(known)}")
    return options


def sizes_of(count: int) -> Callable[[str], str]:
    """Checks that a word is `count` numbers with an x between them."""

    def sizes(word: str) -> str:
        if len(word.split("x")) != count or not all(part.isdecimal() and int(part) for part in word.split("x")):
            raise argparse.ArgumentTypeError(f"{word!r} is not {count} sizes with x between them")
        return word

    return sizes


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """A bar for every share of a limit."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    told = ("measure", "version", "operator", "by", "way", "shape", "batch", "rows", "dtype")
    bars = [
        (" ".join(str(row[name]) for name in told if name in row), row["share"]) for row in results if "share" in row
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(bars)))
    axes.barh([name for name, _ in bars], [share for _, share in bars])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the card's limit")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)


MEASURES = {
    "errors": errors,
    "same": same,
    "wkv": wkv,
    "elementwise": elementwise,
    "decode": decode,
    "prefill": prefill,
    "train": train,
}

if __name__ == "__main__":
    main()
