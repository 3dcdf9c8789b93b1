"""Instruments by name."""

import pytest

from rwkv_music.errors import UserError
from rwkv_music.instruments import read_instruments


@pytest.mark.parametrize(
    ("names", "ensemble", "programs"),
    [
        ("strings", "strings", (40, 40, 41, 42)),
        ("violin, Cello,piano", "", (40, 42, 0)),
        ("flute,drums", "", (73, None)),
        ("string ensemble 1", "", (48,)),
        ("71", "", (71,)),
        ("trump", "", (56,)),
    ],
)
def test_instruments_are_known_by_what_musicians_call_them(names, ensemble, programs):
    assert read_instruments(names) == (ensemble, programs)


@pytest.mark.parametrize("names", ["kazoo", "128", ",", "violin," * 16])
def test_what_is_no_instrument_is_told(names):
    with pytest.raises(UserError, match="--instruments"):
        read_instruments(names)
