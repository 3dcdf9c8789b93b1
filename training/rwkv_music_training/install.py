"""The finished model as it lies in the package: weights, config with what was measured, card and curve."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rwkv_music_training.evaluate import Bits
from rwkv_music_training.measure import Findings
from rwkv_music_training.sources import credits_list

CARD, PICTURE = "README.md", "curve.svg"


def measured_config(config: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """A model's config.json with the licence, the credits and what was measured."""

    def rounded(bits: Mapping[str, Bits], name: str) -> dict[str, float]:
        return {source: round(getattr(one, name), 4) for source, one in bits.items()}

    sound, shared = found.sound, found.shared
    return {
        **config,
        "licence": "Apache-2.0",
        "credits": credits_list(),
        "valid_bits_per_character": rounded(found.bits, "per_character"),
        "valid_body_bits_per_character": rounded(found.bits, "per_body_character"),
        "free_tunes": {
            "tunes": sound.tunes,
            "seed": found.seed,
            "abc2midi_without_error": round(sound.read_without_error, 4),
            "bars_right": round(sound.bars_right, 4),
            "tunes_with_every_bar_right": round(sound.tunes_right, 4),
            "copied_characters_median_90_max": [round(length) for length in shared.lengths(50, 90, 100)],
        },
    }


def install_model(source: Path, target: Path, config: Mapping[str, Any], card: str, picture: Path) -> None:
    """Make `target` the model of the folder `source` with this config, card and picture; replaces what was there."""
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    shutil.copyfile(source / "model.safetensors", aside / "model.safetensors")
    (aside / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (aside / CARD).write_text(card, encoding="utf-8")
    shutil.copyfile(picture, aside / PICTURE)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
