"""The head of every page: what this is, and the way to the other pages."""

import gradio as gr

PAGES = {"Compose": "./", "Tune it": "tune"}
NAME = (
    '<svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">'
    '<path d="M11 23V8l14-3v15" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linejoin="round"/>'
    '<ellipse cx="7.6" cy="23.4" rx="4.2" ry="3.1" fill="currentColor"/>'
    '<ellipse cx="21.6" cy="20.4" rx="4.2" ry="3.1" fill="currentColor"/></svg>'
    "<h1>RWKV Music Studio</h1>"
)
MOTTO = "<p>Music that appears while it is being made</p>"


def lay_out(here: str, several: bool) -> None:
    """The head of the page `here`, one of PAGES; several: there are others."""
    links = "".join(
        f'<a href="{address}"{" aria-current=page" * (name == here)}>{name}</a>' for name, address in PAGES.items()
    )
    ways = f'<nav class="rm-pages" aria-label="Pages">{links}</nav>' if several else ""
    gr.HTML(
        f'<header class="rm-brand">{NAME}{MOTTO}{ways}</header>',
        elem_id="rm-brand",
        js_on_load=None,
        apply_default_css=False,
    )
