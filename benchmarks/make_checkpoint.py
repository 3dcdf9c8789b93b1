"""Write a checkpoint of random weights, in the official form, for measuring speed and memory: never to be listened to.

python benchmarks/make_checkpoint.py 7 --shape 12x768 --vocabulary 20096 -o random-7.pth
"""

import argparse
from pathlib import Path

import torch

from rwkv_music.model.invented import RandomWeights, standard_spec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a checkpoint of random weights.")
    parser.add_argument("version", choices=["4", "5.0", "5.1", "5.2", "6", "7"])
    parser.add_argument("--shape", default="12x768", metavar="LxC", help="layers and width (default: 12x768)")
    parser.add_argument("--vocabulary", type=int, default=20096)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    layers, width = map(int, options.shape.split("x"))
    spec = standard_spec(options.version, layers, width, options.vocabulary)
    weights = dict(RandomWeights(spec, options.seed, DTYPES[options.dtype]))
    if options.version == "7" and layers > 1:
        # As the official trainer writes it: a first layer with a value mix that is never used.
        weights |= {f"blocks.0.att.{name}": weights[f"blocks.1.att.{name}"].clone() for name in ("v0", "v1", "v2")}
    torch.save(weights, options.out)
    count = sum(tensor.numel() for tensor in weights.values())
    print(f"{options.out}: RWKV-{options.version} {options.shape}, {count / 1e6:.1f} M parameters, {options.dtype}")


if __name__ == "__main__":
    main()
