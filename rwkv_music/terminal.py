"""Words for the person at the terminal, with nothing in them that a terminal would obey."""

import os
import sys
from typing import TextIO

# Control characters, but for newline and tab, and what stands in their place.
CONTROLS = {code: "?" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
SURROGATES = range(0xD800, 0xE000)
REMOVED = dict.fromkeys([*CONTROLS, *SURROGATES])


def visible(text: str) -> str:
    """The text with a question mark for every control character except newline and tab."""
    return text.translate(CONTROLS)


def without_controls(text: str) -> str:
    """The text without control characters except newline and tab, and without bytes that are no characters."""
    return text.translate(REMOVED)


def tell(line: str) -> None:
    """A line for the person, on standard error."""
    print(visible(line), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """A result on standard output: as it is, unless a terminal shows it. Raises OSError, once."""
    try:
        print(visible(text) if sys.stdout.isatty() else text, end="", flush=True)
    except OSError:
        hush(sys.stdout)
        raise


def hush(stream: TextIO) -> None:
    """Point a stream that cannot be written to the null device, so that the interpreter's way out is quiet."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def counted(number: int, thing: str) -> str:
    """A number and what it counts: `1 tune`, `2,000 tunes`."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def reason(error: Exception) -> str:
    """Why something failed, without the number and the name that an OSError repeats."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
