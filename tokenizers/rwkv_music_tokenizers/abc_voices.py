"""The voices of a tune by name, in the order in which they were named first."""

from collections.abc import Iterator

from rwkv_music_tokenizers.abc_fields import Voice, default_unit
from rwkv_music_tokenizers.abc_header import MOST_VOICES, Header
from rwkv_music_tokenizers.abc_voice import VoiceBuilder
from rwkv_music_tokenizers.errors import NotationError

LONGEST_PROPERTIES = 1000


class Voices:
    """Makes voices that begin with what the header says. `current` is the one being written."""

    def __init__(self, header: Header):
        self.unit = header.unit or default_unit(header.meter)
        self._header = header
        self._by_name: dict[str, VoiceBuilder] = {}
        for voice in header.voices:
            self.choose(voice)
        self.current = next(iter(self._by_name.values()), None) or self.choose(Voice(""))

    def __iter__(self) -> Iterator[VoiceBuilder]:
        return iter(self._by_name.values())

    def choose(self, wanted: Voice) -> VoiceBuilder:
        """Go on in the voice of that name."""
        unnamed = self._by_name.get("")
        # Music before any V: belongs to voice 1, silence to whichever voice comes first.
        if unnamed and wanted.name not in self._by_name and (wanted.name == "1" or not unnamed.sounded):
            unnamed.name = wanted.name
            self._by_name = {voice.name: voice for voice in self}
        if wanted.name not in self._by_name:
            self._by_name[wanted.name] = self._made(wanted.name)
        voice = self.current = self._by_name[wanted.name]
        if wanted.properties and len(voice.properties) < LONGEST_PROPERTIES:
            voice.properties = f"{voice.properties} {wanted.properties}".strip()
        return voice

    def _made(self, name: str) -> VoiceBuilder:
        if len(self._by_name) >= MOST_VOICES:
            raise NotationError(f"more than {MOST_VOICES} voices")
        voice = VoiceBuilder(name, self._header.key, self.unit, self._header.meter)
        voice.reach = self._header.reach
        return voice
