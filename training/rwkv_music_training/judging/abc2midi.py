"""What abc2midi, an independent reader of ABC, finds wrong with a tune. The program comes with the symusic package."""

import importlib.util
import re
import subprocess
import tempfile
from pathlib import Path

SECONDS = 20
_NUMBERS = re.compile(r"\d+")


class JudgeError(RuntimeError):
    """Something that judging needs is missing; the message says how to get it."""


def find_abc2midi() -> Path:
    """The program inside the symusic package. Raises JudgeError."""
    found = importlib.util.find_spec("symusic")
    if found is None or found.origin is None:
        raise JudgeError("abc2midi comes with symusic, which is not installed: pip install symusic")
    folder = Path(found.origin).parent / "bin"
    program = next((path for path in (folder / "abc2midi", folder / "abc2midi.exe") if path.is_file()), None)
    if program is None:
        raise JudgeError(f"{folder}: this build of symusic has no abc2midi")
    return program


def abc2midi_errors(text: str, program: Path) -> list[str]:
    """The lines that begin with "Error" when abc2midi reads one ABC tune; warnings are no errors.

    Not ending within SECONDS, or ending by a signal, is an error too.
    """
    with tempfile.TemporaryDirectory() as folder:
        tune = Path(folder) / "tune.abc"
        tune.write_text(text, encoding="utf-8")
        command = [str(program), str(tune), "-o", str(tune.with_suffix(".mid"))]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return [f"Error : not read within {SECONDS} s"]
    errors = [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")]
    return [*errors, f"Error : ended by signal {-ended.returncode}"] if ended.returncode < 0 else errors


def kind_of(error: str) -> str:
    """An error without its place: "Error in line-char 5-0 : Missing :| at end of tune" is "Missing :| at end of tune"."""
    return _NUMBERS.sub("N", error.split(":", 1)[-1].strip())
