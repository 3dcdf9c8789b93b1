"""The result of a fine-tuning: a folder that `generate` takes by its name, with a card, samples and the report."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rwkv_music.files import put_folder, refuse_replacing
from rwkv_music.library import CONFIG, user_models_folder
from rwkv_music.names import check_name, plain_name
from rwkv_music_training.finetune.card import card
from rwkv_music_training.finetune.comparing import Comparison
from rwkv_music_training.finetune.preflight import Preflight
from rwkv_music_training.finetune.wishes import FinetuneError
from rwkv_music_training.learning.progress import Progress

# What is kept of the run.
KEPT = ("config.yaml", "curve.csv", "steps.jsonl", "report.html")
README, TRAINING = "README.md", "training"


@dataclass(frozen=True)
class Place:
    """Where the result goes."""

    folder: Path
    # What it is called in config.json, and by `generate` where it lies among the user's models.
    name: str
    # What was made here before may be replaced.
    force: bool = False

    def check(self, places: Sequence[Path] = ()) -> None:
        """Raises FileError for what is there already and must stay. places: what is read, which is never replaced."""
        made = "a model or style made by finetune"
        refuse_replacing(self.folder, made, (CONFIG, README, TRAINING), places, force=self.force)


def place_of(out: str | None, force: bool, first: Path = Path()) -> Place:
    """A path, or a name among the user's models; by default what `first`, the first place read, is called.

    Raises UserError for what is neither, and for a name that stands for something else.
    """
    if not out:
        out = plain_name(first.resolve().stem)
        if not out:
            raise FinetuneError(f"{first} gives the result no name; say one with -o NAME")
    path = Path(out)
    named = len(path.parts) == 1 and not out.startswith(("~", "."))
    folder = (user_models_folder() / out if named else path.expanduser()).absolute()
    if not folder.name:
        raise FinetuneError(f"'{out}' is no name for a model")
    if folder.parent == user_models_folder().absolute():
        check_name(folder.name)
    return Place(folder, folder.name, force)


@dataclass(frozen=True)
class Result:
    """What became of it."""

    place: Place
    comparison: Comparison
    # Bytes of what was learnt, without card and samples.
    size: int
    # What `generate` takes.
    option: str


def keep_result(place: Place, work: Path, preflight: Preflight, comparison: Comparison, progress: Progress) -> Result:
    """Put the folder together beside its place, and then into it. Raises FileError where something came to be there meanwhile."""
    ready = work / "result"
    shutil.copytree(work / "run" / "best", ready)
    size = sum(path.stat().st_size for path in ready.iterdir() if path.name != CONFIG)
    result = Result(place, comparison, size, _option(place, preflight.config.method.name))
    told = json.loads((ready / CONFIG).read_text(encoding="utf-8"))
    about = preflight.base.files.config.about if preflight.base.files.config else {}
    told["base"] = {"name": preflight.base.name, **{key: about[key] for key in ("licence", "credits") if key in about}}
    told["held_out_bits_per_token"] = {
        "before": round(comparison.before.per_token, 4),
        "after": round(comparison.after.per_token, 4),
    }
    (ready / CONFIG).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    samples = (work / "samples").is_dir()
    text = card(preflight, result.option, size, comparison, progress, samples=samples)
    (ready / README).write_text(text, encoding="utf-8")
    if samples:
        shutil.copytree(work / "samples", ready / "samples")
    (ready / TRAINING).mkdir()
    for name in KEPT:
        if (work / "run" / name).is_file():
            shutil.copy2(work / "run" / name, ready / TRAINING / name)
    place.check()
    put_folder(ready, place.folder)
    return result


def _option(place: Place, method: str) -> str:
    named = place.folder.parent == user_models_folder().absolute()
    return f"{'--style' if method == 'state' else '-m'} {place.name if named else place.folder}"
