"""How the page looks, as far as Gradio's own parts go; everything else stands in `static/studio.css`."""

from gradio.themes import Base
from gradio.themes.utils import sizes
from gradio.themes.utils.colors import Color

# Copper, from light to dark.
COPPER = Color(
    "#fdf6f1", "#f9e8dc", "#f1cfb8", "#e6af8b", "#d88c60", "#c66d3d", "#b4552d", "#944226", "#783723", "#63301f", "#37170d",
    name="copper",
)  # fmt: skip
# Paper and ink.
PAPER = Color(
    "#fbf9f4", "#f4f0e7", "#e7e0d2", "#d3c9b6", "#a99e8a", "#6f6657", "#5f574b", "#453f37", "#2b2823", "#1d1b18", "#131210",
    name="paper",
)  # fmt: skip
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> Base:
    """A theme of paper, ink and copper whose letters are those of the machine: nothing is fetched."""
    return Base(
        primary_hue=COPPER,
        secondary_hue=COPPER,
        neutral_hue=PAPER,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        font=FONT,
        font_mono=MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800",
        body_text_color_dark="*neutral_100",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        block_label_text_weight="500",
        block_shadow="none",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
    )
