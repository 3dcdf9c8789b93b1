"""The header of a GGUF file, measured against the file before a byte of it is believed.

The format: magic, version, two counts, then key and value pairs, then a name, shape, type and place for every tensor,
then the tensors, aligned. All numbers are little-endian.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# A vocabulary of 65,536 tokens takes a thirtieth.
HEADER_LIMIT = 64 << 20
COUNT_LIMIT = 1 << 16
ITEM_LIMIT = 1 << 20
NAME_LIMIT = 256
DIMENSIONS = 4
ELEMENTS = 1 << 40

# Type numbers of values: how struct reads them. 8 is text, 9 a list.
_NUMBERS = MappingProxyType({0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"})
_TEXT, _LIST = 8, 9


class GgufError(ValueError):
    """A header that does not describe its file; says why."""


@dataclass(frozen=True)
class Entry:
    """One tensor of the file. `shape` as NumPy has it, the longest step first; `kind`: the number of its type."""

    shape: tuple[int, ...]
    kind: int
    # From the start of the file, in bytes.
    start: int
    bytes: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says before its tensors. Lists (a vocabulary, mostly) are told by their length alone."""

    values: Mapping[str, str | int | float | bool]
    tensors: Mapping[str, Entry]


def read_header(content: mmap.mmap, sizes: Mapping[int, tuple[int, int]]) -> Header:
    """The header of a mapped file. `sizes`: elements and bytes of a block, by the number of a type. Raises GgufError."""
    scan = _Scan(content)
    if scan.take(4) != MAGIC:
        raise GgufError("it does not begin with 'GGUF'")
    if scan.number("I") not in VERSIONS:
        raise GgufError(f"only versions {VERSIONS[0]} and {VERSIONS[1]} of the format can be read")
    tensors, pairs = scan.count("tensors", COUNT_LIMIT), scan.count("values", COUNT_LIMIT)
    values: dict[str, str | int | float | bool] = {}
    for _ in range(pairs):
        key = scan.text(NAME_LIMIT)
        if key in values:
            raise GgufError(f"the value {key!r} comes twice")
        values[key] = scan.value(int(scan.number("I")))
    found = [_tensor(scan) for _ in range(tensors)]
    return Header(values, _placed(found, values, scan.place, len(content), sizes))


def _tensor(scan: "_Scan") -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape, type and place behind the header."""
    name = scan.text(NAME_LIMIT)
    dimensions = int(scan.number("I"))
    if not 1 <= dimensions <= DIMENSIONS:
        raise GgufError(f"'{name}' has {dimensions} dimensions")
    shape = tuple(int(scan.number("Q")) for _ in range(dimensions))[::-1]
    return name, shape, int(scan.number("I")), int(scan.number("Q"))


def _placed(
    found: list[tuple[str, tuple[int, ...], int, int]],
    values: Mapping[str, object],
    end: int,
    size: int,
    sizes: Mapping[int, tuple[int, int]],
) -> dict[str, Entry]:
    """The tensors where they lie in the file; each whole within it, none on another."""
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise GgufError(f"an alignment of {str(alignment)[:20]} is none")
    base = -(-end // alignment) * alignment
    tensors: dict[str, Entry] = {}
    for name, shape, kind, offset in found:
        if name in tensors:
            raise GgufError(f"two tensors are called '{name}'")
        if min(shape) < 1 or math.prod(shape) > ELEMENTS:
            raise GgufError(f"'{name}' has shape {list(shape)}")
        if kind not in sizes:
            raise GgufError(f"'{name}' is of a type that cannot be read (number {kind})")
        elements, block = sizes[kind]
        if shape[-1] % elements:
            raise GgufError(f"'{name}' has rows of {shape[-1]}, its type comes in blocks of {elements}")
        length = math.prod(shape) // elements * block
        if offset % alignment or base + offset + length > size:
            raise GgufError(f"'{name}' lies outside the file")
        tensors[name] = Entry(shape, kind, base + offset, length)
    ends = 0
    for entry in sorted(tensors.values(), key=lambda entry: entry.start):
        if entry.start < ends:
            raise GgufError("two tensors lie on each other")
        ends = entry.start + entry.bytes
    return tensors


class _Scan:
    """Reads on from place to place, never beyond the file or the limit of a header."""

    def __init__(self, content: mmap.mmap):
        self.content = content
        self.place = 0
        self.limit = min(len(content), HEADER_LIMIT)

    def skip(self, count: int) -> int:
        """The place before `count` bytes, which are passed over."""
        start = self.place
        if count > self.limit - start:
            raise GgufError("the header ends early, or is longer than any model's")
        self.place = start + count
        return start

    def take(self, count: int) -> bytes:
        start = self.skip(count)
        return self.content[start : self.place]

    def number(self, code: str) -> int | float | bool:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, what: str, limit: int) -> int:
        count = int(self.number("Q"))
        if count > limit:
            raise GgufError(f"{count} {what} are more than any model has")
        return count

    def text(self, limit: int) -> str:
        length = int(self.number("Q"))
        if length > limit:
            raise GgufError(f"a name of {length} bytes is longer than any")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise GgufError("a name is no UTF-8 text") from None

    def value(self, kind: int) -> str | int | float | bool:
        """One value; a list counts as its length."""
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _TEXT:
            return self.text(ITEM_LIMIT)
        if kind != _LIST:
            raise GgufError(f"a value is of an unknown type (number {kind})")
        item = int(self.number("I"))
        length = int(self.number("Q"))
        if item in _NUMBERS:
            self.skip(length * struct.calcsize("<" + _NUMBERS[item]))
        elif item == _TEXT and length <= ITEM_LIMIT:
            for _ in range(length):
                self.skip(int(self.number("Q")))
        else:
            raise GgufError(f"a list of {length} values of type {item} is none of a model")
        return length
