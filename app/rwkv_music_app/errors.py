"""Why the studio does not do what somebody wants, where more can be told than that it is a mistake."""

from rwkv_music.errors import UserError


class GrowingError(UserError):
    """The piece is being composed at this moment."""


class TooManyError(UserError):
    """One person composes, or keeps, more than a person may."""


class NoTakeError(UserError):
    """The piece has no such take."""


class KeyReusedError(UserError):
    """The same key came with another wish before."""


def growing() -> GrowingError:
    """The one that everybody is told."""
    return GrowingError("this piece is being composed: stop it first")
