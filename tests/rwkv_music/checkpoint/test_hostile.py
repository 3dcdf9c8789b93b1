"""Files made to harm: each is refused in one line, by a process that may take 200 MB and a few seconds more."""

import ast
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.source import CheckpointError

Make = Callable[[Path], object]
GOOD = {"emb.weight": torch.ones(8, 4)}


class Bomb:
    """Runs `call` when it is unpickled by a reader that follows it."""

    def __init__(self, *call: object):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def archive(pickled: bytes, path: Path, compression: int = zipfile.ZIP_STORED) -> None:
    """A zip as torch.save would lay it out, around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/data/0", bytes(64))
        file.writestr("archive/version", "3\n")


def saved(content: object) -> Make:
    return lambda path: torch.save(content, path)


def pickled(code: bytes) -> Make:
    return lambda path: archive(code, path)


def edited(edit: Callable[[bytes], bytes]) -> Make:
    """A good archive with changed bytes."""

    def make(path: Path) -> None:
        content = io.BytesIO()
        torch.save(GOOD, content)
        path.write_bytes(edit(content.getvalue()))

    return make


def holding_itself(path: Path) -> None:
    content: dict[str, object] = {}
    content["model"] = content
    torch.save(content, path)


def twice_the_archive(path: Path) -> None:
    """Two directory entries of one stretch of bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", bytes(100_000))
        for number in range(3):
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            entry.file_size = entry.compress_size = 100_000
            entry.header_offset = entry.CRC = 0
            file.filelist.append(entry)
            file.NameToInfo[entry.filename] = entry
    path.write_bytes(content.getvalue())


def program(path: Path) -> None:
    torch.save(GOOD, path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("model/constants.pkl", pickle.dumps(()))


def long_directory(whole: bytes) -> bytes:
    end = whole.rfind(b"PK\x05\x06")
    return whole[: end + 12] + struct.pack("<I", 1 << 31) + whole[end + 16 :]


def larger_storage(path: Path) -> None:
    """The storage of 32 numbers claims 2^31 - 256 of them, and the tensor has as many."""
    content = io.BytesIO()
    torch.save(GOOD, content)
    with zipfile.ZipFile(content) as good, zipfile.ZipFile(path, "w") as file:
        for entry in good.infolist():
            whole = good.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert whole.count(b"K\x20") == 1 and whole.count(b"K\x08K\x04") == 1
                whole = whole.replace(b"K\x20", b"J\x00\xff\xff\x7f").replace(b"K\x08K\x04", b"J\xc0\xff\xff\x1fK\x04")
            file.writestr(entry.filename, whole)


# Dictionary, name, GLOBAL bytearray, the number 10^11, one argument, called.
ARRAY = b"\x80\x02}X\x01\x00\x00\x00acbuiltins\nbytearray\n\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85Rs."
TENSOR = b"\x80\x02}X\x01\x00\x00\x00actorch\nTensor\nJ\x00\x00\x00\x10J\x00\x00\x00\x10\x86Rs."
QUANTISED = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_qtensor\n)Rs."
SHARED = torch.ones(50_000)

ARCHIVES: dict[str, tuple[Make, str]] = {
    "a call": (saved({"emb.weight": Bomb(open, "exploded", "w")}), "weights are tensors alone"),
    "a call by another name": (saved({"emb.weight": Bomb(eval, "1")}), "weights are tensors alone"),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb(open, "exploded", "w"))), "no zip archive"),
    "an object by protocol 4": (pickled(pickle.dumps(Bomb(open, "exploded", "w"), 4)), "objects that are no tensors"),
    "an array of 100 GB": (pickled(ARRAY), "bytearray"),
    "a tensor of 2^56 numbers": (pickled(TENSOR), "'torch Tensor'"),
    "endless steps": (pickled(b"\x80\x02" + b"N0" * 4_000_000 + b"}."), "table of tensors is too long"),
    "a string of 4 GB": (pickled(b"\x80\x02X\xff\xff\xff\xffa."), "not a whole PyTorch weights file"),
    "a long pickle": (lambda path: archive(bytes(20 << 20), path), "holds no table of tensors, or one too long"),
    "no pickle": (edited(lambda whole: whole.replace(b"data.pkl", b"data.txt")), "holds no table of tensors"),
    "a compressed bomb": (
        lambda path: archive(bytes(50_000_000), path, zipfile.ZIP_DEFLATED),
        "unpacks to more than its own size",
    ),
    "one stretch many times": (twice_the_archive, "unpacks to more than its own size"),
    "a directory of 2 GB": (edited(long_directory), "list of contents is too long"),
    "a directory entry cut off": (edited(lambda whole: whole[:-30]), "not a whole PyTorch weights file"),
    "half an archive": (edited(lambda whole: whole[: len(whole) // 2]), "no zip archive"),
    "nothing": (lambda path: path.write_bytes(b""), "no zip archive"),
    "a program": (program, "TorchScript program"),
    "a dictionary in itself": (holding_itself, "no named tensors"),
    "a list": (saved([torch.ones(2)]), "no named tensors"),
    "an empty dictionary": (saved({}), "no named tensors"),
    "names that are numbers": (saved({0: torch.ones(2)}), "no named tensors"),
    "a number spread out": (
        saved({"emb.weight": torch.ones(1).expand(1 << 20, 1 << 20)}),
        "more numbers than the file",
    ),
    "one tensor, many names": (saved({f"n{number}": SHARED for number in range(50)}), "more numbers than the file"),
    "a storage that claims more": (larger_storage, "not a whole PyTorch weights file"),
    "integers": (saved({"emb.weight": torch.ones(2, dtype=torch.int64)}), "is torch.int64, expected float32"),
    "doubles": (saved({"emb.weight": torch.ones(2, dtype=torch.float64)}), "is torch.float64, expected float32"),
    "complex numbers": (saved({"emb.weight": torch.ones(2, dtype=torch.complex64)}), "is torch.complex64"),
    "a sparse tensor": (saved({"emb.weight": torch.eye(3).to_sparse()}), "weights are tensors alone"),
    "a tensor of no device": (saved({"emb.weight": torch.ones(2, device="meta")}), "weights are tensors alone"),
    "a quantised tensor": (pickled(QUANTISED), "weights are tensors alone"),
    "a name of two lines": (saved({"emb.weight\nall is well": torch.ones(2)}), "which no model has"),
    "two names that become one": (saved({"a": torch.ones(2), "model.a": torch.ones(2)}), "two tensors are called 'a'"),
}


def header(content: object, numbers: int = 0, length: int | None = None) -> Make:
    """A safetensors file of this header (text or JSON), and so many bytes of numbers."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()

    def make(path: Path) -> None:
        path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(numbers))

    return make


def one(**changes: object) -> dict[str, object]:
    return {"emb.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}


def sparse(path: Path) -> None:
    """A header of 60 MB in a file that is as long."""
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 60 << 20))
        file.truncate(64 << 20)


PAIR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWICE = f'{{"a": {json.dumps(PAIR)}, "a": {json.dumps(PAIR)}}}'.encode()

SAFETENSORS: dict[str, tuple[Make, str]] = {
    "nothing": (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
    "seven bytes": (lambda path: path.write_bytes(bytes(7)), "not a whole safetensors file"),
    "an empty header": (header(b""), "not a whole safetensors file"),
    "a header of 100 GB": (header(one(), 16, 100_000_000_000), "header is longer than the file"),
    "a header of 2^64 bytes": (header(one(), 16, 2**64 - 1), "header is longer than the file"),
    "a header of 60 MB": (sparse, "header is longer than 8 MiB"),
    "a header cut off": (header(one(), 0, 30), "not a whole safetensors file"),
    "no JSON": (header(b"\xff\xfe{}"), "not a whole safetensors file"),
    "a list": (header([1, 2]), "no JSON object"),
    "deep nesting": (header(b'{"a":' * 100_000), "nested too deeply"),
    "a number without end": (header(b'{"a": {"shape": [' + b"9" * 1_000_000 + b"]}}"), "not a whole safetensors file"),
    "no tensors": (header({}), "no named tensors"),
    "metadata alone": (header({"__metadata__": {"format": "pt"}}), "no named tensors"),
    "metadata of objects": (header(one() | {"__metadata__": {"a": {}}}, 16), "metadata are no table of strings"),
    "one name twice": (header(TWICE, 8), "a name stands twice"),
    "a tensor that is a number": (header({"emb.weight": 3}), "described by other than"),
    "more than is known": (header(one(strides=[1, 2]), 16), "described by other than"),
    "a name without end": (header({"blocks." + "9" * 5000: PAIR}, 8), "which no model has"),
    "integers": (header(one(dtype="I32"), 16), "is torch.int32, expected float32"),
    "doubles": (header(one(dtype="F64", shape=[2]), 16), "is torch.float64, expected float32"),
    "eight-bit floats": (header(one(dtype="F8_E4M3", shape=[16]), 16), "is of the type F8_E4M3"),
    "a type that is a list": (header(one(dtype=["F32"]), 16), "is of the type"),
    "a negative size": (header(one(shape=[-2, -2]), 16), "no proper shape"),
    "a size of true": (header(one(shape=[True, 4]), 16), "no proper shape"),
    "a size of 1.5": (header(one(shape=[1.5, 4]), 16), "no proper shape"),
    "too many dimensions": (header(one(shape=[1] * 50 + [4]), 16), "no proper shape"),
    "sizes whose product is 2^80": (header(one(shape=[1 << 40, 1 << 40]), 16), "bytes that its shape takes"),
    "more than its bytes": (header(one(shape=[2, 3]), 16), "bytes that its shape takes"),
    "offsets backwards": (header(one(data_offsets=[16, 0]), 16), "bytes that its shape takes"),
    "three offsets": (header(one(data_offsets=[0, 8, 16]), 16), "no proper shape or data_offsets"),
    "tensors over each other": (header(one() | {"b": PAIR}, 24), "overlap or leave gaps"),
    "a gap": (header(one(data_offsets=[8, 24]), 24), "overlap or leave gaps"),
    "numbers missing": (header(one(), 12), "take 16 bytes, the file has 12"),
    "numbers too many": (header(one(), 20), "take 16 bytes, the file has 20"),
}


def index(places: object, *files: str) -> Make:
    def make(path: Path) -> None:
        for file in files:
            torch.save(GOOD, path.parent / file)
        path.write_text(places if isinstance(places, str) else json.dumps({"weight_map": places}))

    return make


INDEXES: dict[str, tuple[Make, str]] = {
    "no JSON": (index("{"), "an index of weights is a JSON object"),
    "no names": (index({}), "an index of weights is a JSON object"),
    "files that are numbers": (index({"emb.weight": 3}), "an index of weights is a JSON object"),
    "a file above": (index({"emb.weight": "../model.pth"}), "is no file of weights beside this index"),
    "a file at the root": (index({"emb.weight": "/etc/passwd"}), "is no file of weights beside this index"),
    "a file on a drive": (index({"emb.weight": "C:\\model.pth"}), "is no file of weights beside this index"),
    "a file of another kind": (index({"emb.weight": "notes.txt"}), "is no file of weights beside this index"),
    "a hidden file": (index({"emb.weight": ".a.pth"}), "is no file of weights beside this index"),
    "a missing file": (index({"emb.weight": "none.pth"}), "the file none.pth is missing"),
    "a thousand and one files": (index({f"n{n}": f"m{n}.pth" for n in range(1001)}), "no file of weights beside"),
    "a tensor it does not name": (index({"head.weight": "a.pth"}, "a.pth"), "holds other tensors than the index says"),
    "a tensor that is not there": (
        index({"emb.weight": "b.pth", "head.weight": "b.pth"}, "b.pth"),
        "holds other tensors than the index says",
    ),
}

NAMES = {"model.pth": ARCHIVES, "model.safetensors": SAFETENSORS, "model.safetensors.index.json": INDEXES}

# Everything is imported before the limits: what counts is what a file makes the reader take.
READER = """
import resource, sys
from pathlib import Path
import torch
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.source import CheckpointError
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (200 << 20),) * 2)
for line in sys.stdin:
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 5, resource.RLIM_INFINITY))
    try:
        for tensor in load_weights(Path(line.rstrip("\\n"))).values():
            pass
        print("read")
    except CheckpointError as error:
        print(repr(str(error)))
"""


def cases() -> list[tuple[str, str]]:
    return [(name, case) for name, kinds in NAMES.items() for case in kinds]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Path, str]]:
    """What one limited process said to each file; nothing for those after the one that broke it."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = []
    for number, (name, case) in enumerate(cases()):
        (folder / str(number)).mkdir()
        paths.append(folder / str(number) / name)
        NAMES[name][case][0](paths[-1])
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert not (folder / "exploded").exists()
    lines = done.stdout.splitlines()
    lines += [f"the reader broke: {done.stderr[-2000:]}"] * (len(paths) - len(lines))
    return {case: (path, line) for case, path, line in zip(cases(), paths, lines, strict=True)}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are set as Linux has them")
@pytest.mark.parametrize("name, case", cases())
def test_a_hostile_file_is_refused_in_one_line(answers, name, case):
    path, answer = answers[name, case]
    said = NAMES[name][case][1]
    assert answer[1:].startswith(str(path.parent)), answer
    line = ast.literal_eval(answer)
    assert said in line and "\n" not in line and len(line) < 400


@pytest.mark.parametrize("name, case", [key for key in cases() if key[0] != "model.pth"])
def test_and_so_it_is_on_every_system(tmp_path, name, case):
    NAMES[name][case][0](tmp_path / name)
    with pytest.raises(CheckpointError):
        dict(load_weights(tmp_path / name))


def test_a_good_file_is_read_by_the_same_limits(tmp_path):
    torch.save(GOOD, tmp_path / "model.pth")
    done = subprocess.run(
        [sys.executable, "-c", READER], input=f"{tmp_path / 'model.pth'}\n", capture_output=True, text=True
    )
    assert done.stdout == "read\n", done.stderr
