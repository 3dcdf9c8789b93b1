"""Mutilated ABC through check and convert: read, or refused in one line, and always within seconds."""

import random
import time

import pytest

from rwkv_music.cli import main

TUNE = (
    "X:1\nT:Ä Tune\nC:Trad.\nM:6/8\nL:1/8\nQ:3/8=120\nK:Ador\nV:1 clef=treble\n"
    '|:"Am"{g}A2B (3cde|[1 !trill!f>e d<c z2:|[2 [Ace]2 ~a .b-b2|]\nw:la-la _ *|la\n'
    "[K:D][M:9/8]^f_g=a c,d' (ab) z3 & F9|\\\nP:B\n%%MIDI program 73\n(5:4:5abcde z4|Z2|\n"
).encode()
PIECES = [
    b'"',
    b"[",
    b"]",
    b"{",
    b"(",
    b"(9:9:9",
    b"|:",
    b":|",
    b"K:",
    b"[V:",
    b"%%begintext\n",
    b"\\",
    b"-" * 40,
    b"999999999999/",
    b"&",
]
# Of processor time, so that a busy machine fails nothing.
LIMIT_S = 20.0


def mutated(dice: random.Random) -> bytes:
    kind = dice.randrange(8)
    place = dice.randrange(len(TUNE))
    if kind == 0:
        return TUNE[:place]
    if kind == 1:
        content = bytearray(TUNE)
        for _ in range(dice.randint(1, 20)):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        return bytes(content)
    if kind == 2:
        return TUNE[:place] + dice.choice(PIECES) * dice.randint(1, 300) + TUNE[place:]
    if kind == 3:
        return TUNE[:place] + b"\0" * dice.randint(1, 4) + TUNE[place:]
    if kind == 4:
        return TUNE.decode().encode(dice.choice(["utf-16", "utf-16-le", "utf-32", "cp500"]))
    if kind == 5:
        return dice.randbytes(dice.randint(0, 2000))
    if kind == 6:
        lines = TUNE.split(b"\n")
        dice.shuffle(lines)
        return b"\n".join(lines)
    return TUNE[:place] + TUNE[dice.randrange(len(TUNE)) :] * dice.randint(1, 4)


def survives(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.thread_time()
    code = main(words)
    assert time.thread_time() - begin < LIMIT_S
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rwkv-music: ")]
    assert code in (0, 1)
    assert len(told) <= 1


def test_three_hundred_mutations_are_read_or_refused(tmp_path, capsys):
    dice = random.Random(7)
    path, out = tmp_path / "tune.abc", tmp_path / "tune.mid"
    for number in range(300):
        path.write_bytes(mutated(dice))
        survives(["check", str(path)], capsys)
        survives(["convert", "--force", str(path), str(out.with_suffix((".mid", ".abc", ".json")[number % 3]))], capsys)
    assert not list(tmp_path.glob(".*"))


def test_a_hundred_mutations_as_prompts_are_continued_or_refused(tmp_path, capsys, engine):
    engine()
    dice = random.Random(8)
    path = tmp_path / "tune.abc"
    for _ in range(100):
        path.write_bytes(mutated(dice).replace(b"V:", b"Z:"))
        survives(["generate", "--force", "-p", str(path), "--bars", "2", "-o", str(tmp_path / "t.abc")], capsys)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + TUNE,
        TUNE.replace(b"\n", b"\r\n"),
        TUNE.replace(b"\n", b"\r"),
        b"X:1\nK:G\n" + b"GABc|" * 10_000,
        b"X:1\nK:G\n" + b"[" * 20_000,
        b"X:1\nK:G\n" + b'"' * 20_001,
        b"X:1\nK:G\n" + b"(3" * 20_000,
        b"X:1\nK:G\n" + b"|:A:|" * 6_000,
        b"X:1\nK:G\n" + b"{" * 20_000 + b"A|",
        b"X:1\nK:G\nGABc|\n" * 2_000,
        b"X:1\nK:G\nA" + b"\n" * 100_000,
        b"A" * 100_000,
        b"GABc dedB|" * 600_000,
        b"X:1\nV:1\n" + b"".join(b"[V:%d]GABc|" % voice for voice in range(1_000)),
    ],
    ids=lambda content: f"{content[:24]!r} {len(content)}",
)
def test_huge_and_odd_files_are_read_or_refused_in_time(tmp_path, capsys, content):
    path = tmp_path / "tune.abc"
    path.write_bytes(content)
    survives(["check", "-q", str(path)], capsys)
    survives(["convert", str(path), str(tmp_path / "tune.mid")], capsys)
