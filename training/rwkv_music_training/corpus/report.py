"""What a corpus holds and what was left out, as tables for the terminal."""

from collections.abc import Iterator, Sequence

from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.sharing import SPLITS

# Of a licence, in characters; the manifest has all of it.
MOST_LICENCE = 40


def report(corpus: Corpus) -> str:
    """Splits, sources, and files left out by reason."""
    manifest = corpus.manifest
    splits = [(split, f"{manifest.count(split):,}", f"{manifest.ids(split):,}") for split in SPLITS]
    sources = [
        (name, f"{told['documents']:,}", f"{told['ids']:,}", told["tier"], told["licence"][:MOST_LICENCE])
        for name, told in manifest.sources.items()
    ]
    reasons = [(reason, f"{count:,}") for reason, count in manifest.left_out.items()]
    left = manifest.found - manifest.kept
    tables = [
        f"{corpus.folder}: {manifest.kept:,} documents in {manifest.tokenizer}, of {manifest.found:,} pieces found\n",
        table(("split", "documents", "ids"), splits),
        table(("source", "documents", "ids", "tier", "licence"), sources),
        table(("left out", f"{left:,}"), reasons) if left else "nothing left out\n",
    ]
    return "\n".join(tables)


def rejected(corpus: Corpus) -> Iterator[str]:
    """Every file that was left out: its name, the reason and what exactly, between tabs."""
    for row in corpus.rejects().to_pylist():
        yield f"{row['name']}\t{row['reason']}\t{' '.join(row['detail'].split())}\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a head; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    right = [all(cell[:1].isdigit() for cell in column) and bool(column) for column in zip(*rows, strict=True)]
    right += [False] * (len(head) - len(right))

    def line(cells: Sequence[str]) -> str:
        placed = zip(cells, widths, right, strict=True)
        return "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in placed
        ).rstrip()

    return "\n".join(map(line, (head, *rows))) + "\n"
