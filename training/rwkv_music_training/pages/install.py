"""The finished model as it lies in the package: weights, config with what was measured, card and curve."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rwkv_music.files import whole_folder

CARD, PICTURE = "README.md", "curve.svg"


def install_model(source: Path, target: Path, config: Mapping[str, Any], card: str, picture: Path) -> None:
    """Make `target` the model of the folder `source` with this config, card and picture; replaces what was there."""
    with whole_folder(target) as aside:
        shutil.copyfile(source / "model.safetensors", aside / "model.safetensors")
        (aside / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (aside / CARD).write_text(card, encoding="utf-8")
        shutil.copyfile(picture, aside / PICTURE)
