"""What can go wrong when a score is made visible or audible."""

from rwkv_music.errors import UserError


class RenderError(UserError):
    """A score, sound or file that cannot be rendered; the message says why and what to do."""


class SoundfontError(RenderError):
    """No soundfont to play with."""
