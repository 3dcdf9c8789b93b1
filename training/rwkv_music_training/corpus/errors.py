"""What is wrong with a corpus, or with what one is to be made of."""

from rwkv_music.errors import UserError


class CorpusError(UserError):
    """A place, an archive or a corpus that cannot be used; the message names it, the rule and the mend."""
