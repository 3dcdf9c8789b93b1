"""The left side of the page: how a piece begins and how it goes on, in words that musicians know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from rwkv_music.errors import UserError
from rwkv_music.sampling import MAX_SEED
from rwkv_music_app.checking import faults_of
from rwkv_music_app.wants import MOST_TAKES, Begin, GoOn

NOTHING, OWN, FILE, EXAMPLE = "Nothing", "My ABC", "A file", "An example"
BY_ITSELF = "Choose for me"
NO_STYLE = "None in particular"
KINDS = ["reel", "jig", "slip jig", "hornpipe", "polka", "waltz", "mazurka", "minuet", "march", "air"]
KEYS = ["G", "D", "A", "E", "C", "F", "Bb", "Am", "Em", "Bm", "Dm", "Gm", "Ador", "Edor", "Ddor", "Amix", "Dmix"]
METERS = ["4/4", "2/4", "3/4", "6/8", "9/8", "12/8", "2/2"]
PLAYERS = [
    "piano",
    "strings",
    "violin",
    "viola",
    "cello",
    "flute",
    "clarinet",
    "oboe",
    "trumpet",
    "guitar",
    "harp",
    "bass",
    "choir",
    "organ",
    "drums",
]
FILES = [".abc", ".txt", ".mid", ".midi", ".kar", ".musicxml", ".xml", ".mxl"]
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Form:
    """The inputs, by what they say."""

    begin: dict[str, Component]
    go_on: dict[str, Component]
    compose: gr.Button

    @property
    def all(self) -> list[Component]:
        """Those that a new piece needs, in the order that `begin_of` and `go_on_of` take their values."""
        return [*self.begin.values(), *self.go_on.values()]

    def begin_of(self, values: Sequence[Any]) -> Begin:
        """How the piece begins. Raises UserError, or OSError for an upload that has gone."""
        told = dict(zip(self.begin, values, strict=False))
        model, style = _model_and_style(told)
        if told["start"] == NOTHING:
            players = ",".join(told["players"] or ())
            return Begin(
                model,
                key=_words(told["key"]),
                meter=_words(told["meter"]),
                tempo=_words(told["tempo"]),
                # An ensemble plays pieces of no kind.
                rhythm="" if players else _words(told["rhythm"]),
                title=", ".join(told["players"] or ())[:80].capitalize(),
                instruments=players,
                style=style,
            )
        if told["start"] == FILE:
            if not told["file"]:
                raise UserError("drop a file first: .abc, .mid or .musicxml")
            path = Path(told["file"])
            return Begin(
                model,
                content=path.read_bytes(),
                name=path.name[-80:],
                style=style,
                prompt_bars=_whole(told["prompt_bars"], "how many bars are heard"),
            )
        if not (told["abc"] or "").strip():
            raise UserError("type or paste a tune first, or begin with nothing")
        return Begin(
            model, text=told["abc"], style=style, prompt_bars=_whole(told["prompt_bars"], "how many bars are heard")
        )

    def go_on_of(self, values: Sequence[Any]) -> GoOn:
        """How it goes on. Raises UserError."""
        told = dict(zip(self.go_on, values, strict=True))
        own = bool(told["own"])
        return GoOn(
            bars=None if told["free"] else int(told["bars"]),
            takes=int(told["takes"]),
            end=bool(told["end"]) and not told["free"],
            seed=_whole(told["seed"], "a seed", MAX_SEED),
            temperature=float(told["temperature"]) if own else None,
            top_p=float(told["top_p"]) if own else None,
            compass=_words(told["compass"]),
            scale=_words(told["scale"]),
            drums=bool(told["drums"]),
            polyphony=_whole(told["polyphony"], "the most notes at once"),
        )


def lay_out(models: Sequence[str], styles: Mapping[str, Sequence[str]]) -> Form:
    """The inputs, where a column is being laid out. styles: by model."""
    with gr.Group(elem_classes="rm-group"):
        start = gr.Radio([NOTHING, OWN, FILE, EXAMPLE], value=NOTHING, label="Begin with", elem_id="rm-start")
        with gr.Column(visible=True, elem_classes="rm-part") as nothing:
            header = _header()
        with gr.Column(visible=False, elem_classes="rm-part") as typed:
            example = gr.Dropdown(_examples(), value=None, label="Tune", visible=False, elem_id="rm-example")
            abc = gr.Textbox(
                label="Tune in ABC", lines=9, max_lines=18, max_length=16_000, elem_id="rm-abc",
                placeholder="X:1\nT:My tune\nM:6/8\nK:G\nGAB c2d|ecA GED|",
            )  # fmt: skip
            # Always there, and always as high: what stands below must not move under somebody's pointer.
            faults = gr.Textbox(
                label="What does not add up",
                placeholder="Nothing so far",
                interactive=False,
                lines=2,
                max_lines=2,
                elem_id="rm-faults",
            )
        with gr.Column(visible=False, elem_classes="rm-part") as dropped:
            file = gr.File(
                label="ABC, MIDI or MusicXML", file_types=FILES, type="filepath", height=130, elem_id="rm-file"
            )
    sound, go_on = _further(models, styles)
    compose = gr.Button("Compose", variant="primary", size="lg", elem_id="rm-compose")
    begin = {"start": start, **header, "abc": abc, "file": file, **sound}
    _wire(start, example, abc, faults, (nothing, typed, dropped))
    _follow_style(sound["style"], header["rhythm"])
    return Form(begin, go_on, compose)


def _header() -> dict[str, Component]:
    with gr.Row():
        rhythm = gr.Dropdown(["", *KINDS], value="jig", label="Kind of tune", min_width=120, elem_id="rm-kind")
        key = gr.Dropdown(["", *KEYS], value="D", label="Key", allow_custom_value=True, min_width=90, elem_id="rm-key")
    with gr.Row():
        meter = gr.Dropdown(["", *METERS], value="", label="Meter", allow_custom_value=True, min_width=100)
        tempo = gr.Textbox(label="Tempo (quarters)", placeholder="as usual", max_lines=1, min_width=110)
    players = gr.Dropdown(
        PLAYERS, multiselect=True, label="Players", allow_custom_value=True, max_choices=15, elem_id="rm-players",
        info="Leave empty for a tune; name some for an ensemble (MIDI)",
    )  # fmt: skip
    return {"rhythm": rhythm, "key": key, "meter": meter, "tempo": tempo, "players": players}


def styles_on_offer(styles: Mapping[str, Sequence[str]], chosen: str = "") -> gr.Dropdown:
    """The choice among the styles of each model; chosen: one as "MODEL+STYLE", where it is among them."""
    named = [(model, name) for model, own in styles.items() for name in own]
    twice = {name for model, name in named for other, same in named if same == name and other != model}
    choices = [(NO_STYLE, "")]
    for model, name in named:
        words = name.replace("-", " ").capitalize() + (f" ({model})" if name in twice else "")
        choices.append((words, f"{model}+{name}"))
    known = {value for _, value in choices}
    return gr.Dropdown(choices, value=chosen if chosen in known else "", label="Style", elem_id="rm-style")


def kind_of(style: str) -> str:
    """The kind of tune that a style's name speaks of; "" for none."""
    words = " " + style.partition("+")[2].replace("-", " ")
    return max((kind for kind in KINDS if f" {kind}" in words), key=len, default="")


def _model_and_style(told: Mapping[str, Any]) -> tuple[str, str]:
    """What `Begin` takes; a mix goes before a style."""
    owner, _, style = _words(told["style"]).partition("+")
    mix = _words(told["mix"])
    model = "" if told["model"] == BY_ITSELF else str(told["model"])
    return model or (owner if style and not mix else ""), mix or style


def _further(
    models: Sequence[str], styles: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Component], dict[str, Component]]:
    """What else says how a piece begins, and how it goes on."""
    with gr.Group(elem_classes="rm-group"):
        style = styles_on_offer(styles)
        with gr.Row():
            bars = gr.Slider(1, 64, value=16, step=1, label="Bars", min_width=140, elem_id="rm-bars")
            takes = gr.Slider(1, MOST_TAKES, value=2, step=1, label="Takes", min_width=140, elem_id="rm-takes")
        with gr.Row():
            end = gr.Checkbox(value=False, label="Come to an end there", min_width=140)
            free = gr.Checkbox(value=False, label="As long as it likes", min_width=140)
    with gr.Accordion("Settings", open=False, elem_id="rm-settings"):
        model = gr.Dropdown([BY_ITSELF, *models], value=BY_ITSELF, label="Model")
        seed = gr.Textbox(
            label="Seed",
            placeholder="drawn",
            max_lines=1,
            info="The same seed makes the same music again",
            elem_id="rm-seed",
        )
        with gr.Row():
            compass = gr.Textbox(label="Range", placeholder="D4-B5", max_lines=1, min_width=110)
            scale = gr.Textbox(label="Keep to the scale of", placeholder="D", max_lines=1, min_width=110)
        with gr.Row():
            polyphony = gr.Textbox(label="Most notes at once", placeholder="any number", max_lines=1, min_width=110)
            drums = gr.Checkbox(value=True, label="Drums may play", min_width=110)
        with gr.Accordion("Advanced", open=False):
            mix = gr.Textbox(
                label="Mix of styles",
                placeholder="mazurka:0.7+lead-sheet:0.3",
                max_lines=1,
                info="Instead of one; each with its weight",
                elem_id="rm-mix",
            )
            prompt_bars = gr.Textbox(label="Hear only so many bars of my music", placeholder="all", max_lines=1)
            own = gr.Checkbox(value=False, label="Not as the model's makers draw, but:")
            temperature = gr.Slider(0, 2, value=0.9, step=0.05, label="Temperature", info="Higher is more daring")
            top_p = gr.Slider(0.05, 1, value=0.95, step=0.05, label="Top p", info="Lower leaves out what is unlikely")
    go_on = {
        "bars": bars, "takes": takes, "end": end, "free": free, "seed": seed, "compass": compass, "scale": scale,
        "polyphony": polyphony, "drums": drums, "own": own, "temperature": temperature, "top_p": top_p,
    }  # fmt: skip
    return {"style": style, "mix": mix, "model": model, "prompt_bars": prompt_bars}, go_on


def _wire(
    start: gr.Radio, example: gr.Dropdown, abc: gr.Textbox, faults: gr.Textbox, parts: tuple[gr.Column, ...]
) -> None:
    """What shows when something is chosen, and what is told while somebody types."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def choose(chosen: str) -> list[Any]:
        seen = (chosen == NOTHING, chosen in (OWN, EXAMPLE), chosen == FILE)
        return [gr.Column(visible=one) for one in seen] + [gr.Dropdown(visible=chosen == EXAMPLE)]

    def check(text: str) -> str:
        return "\n".join(faults_of(text or ""))

    start.change(choose, start, [*parts, example], **quiet)
    example.change(_text_of, example, abc, **quiet)
    abc.change(check, abc, faults, trigger_mode="always_last", concurrency_limit=4, **quiet)


def _follow_style(style: Component, rhythm: Component) -> None:
    """Choosing a style that is named after a kind of tune chooses the kind."""

    def follow(chosen: str | None) -> Any:
        kind = kind_of(chosen or "")
        return gr.Dropdown(value=kind) if kind else gr.Dropdown()

    style.change(follow, style, rhythm, show_progress="hidden", api_visibility="private")  # type: ignore[attr-defined]


def _examples() -> list[tuple[str, str]]:
    return [(path.stem.replace("-", " ").title(), path.name) for path in sorted(EXAMPLES.glob("*.abc"))]


def _text_of(name: str | None) -> str:
    known = {path.name: path for path in EXAMPLES.glob("*.abc")}
    return known[name].read_text(encoding="utf-8") if name in known else ""


def _words(value: Any) -> str:
    return str(value or "").strip()


def _whole(text: Any, what: str, most: int = 10_000) -> int | None:
    """A number that may be left out. Raises UserError."""
    words = _words(text)
    if words and not (words.isascii() and words.isdecimal() and len(words) < 20 and 0 <= int(words) <= most):
        raise UserError(f"{what} is a whole number, or nothing")
    return int(words) if words else None
