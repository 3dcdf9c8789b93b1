"""What smaller number types cost in music: bits per character of an ABC model on tunes it has not seen, by dtype.

    python benchmarks/dtypes.py TUNES.jsonl.zst [--model abc-folk]

TUNES holds one tune a line, as the trainer reads them; tier A is read, whole tunes from a fresh state.
"""

import argparse
import json
from pathlib import Path

from rwkv_music.engine import Engine
from rwkv_music_training.corpus.tunes import read_tunes
from rwkv_music_training.judging.predictors import EnginePredictor
from rwkv_music_training.judging.tune_bits import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description="Bits per character by number type.")
    parser.add_argument("tunes", type=Path)
    parser.add_argument("--model", default="abc-folk")
    options = parser.parse_args()
    tunes = read_tunes(options.tunes)
    exact = 0.0
    for dtype in ("float32", "bfloat16", "int8"):
        engine = Engine.open(options.model, dtype=dtype)
        bits = evaluate(EnginePredictor(engine), tunes)["all"].per_character
        exact = exact or bits
        print(json.dumps({"dtype": dtype, "bits_per_character": round(bits, 5), "change": round(bits / exact - 1, 6)}))


if __name__ == "__main__":
    main()
