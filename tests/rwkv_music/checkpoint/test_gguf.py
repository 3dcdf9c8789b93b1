"""GGUF: what llama.cpp's converter writes is read, what is written comes back, and no hostile header is believed."""

import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize
from torch import Tensor

from rwkv_music.checkpoint.gguf_read import read_gguf
from rwkv_music.checkpoint.gguf_write import write_gguf
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.spec import Spec
from rwkv_music.model.versions import Tidy, read_spec, shapes_of, tidy


@pytest.fixture(scope="module", params=["6", "7"])
def official(request: pytest.FixtureRequest, data: Path) -> tuple[Spec, Tidy]:
    tensors = load_weights(data / f"engine/v{request.param}/model.pth")
    spec = read_spec(shapes_of(tensors))
    return spec, tidy(tensors, spec)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name].float(), other[name].float()) for name in one)


@pytest.mark.parametrize("kind", ["f32", "bf16"])
def test_what_is_written_without_loss_comes_back(official, tmp_path, kind):
    spec, weights = official
    write_gguf(weights, spec, tmp_path / "model.gguf", kind)
    found = read_gguf(tmp_path / "model.gguf")
    assert read_spec(found.shapes) == spec
    assert found.layout == f"gguf rwkv{spec.version}"
    assert same(tidy(found, spec), weights)


@pytest.mark.parametrize("kind, steps", [("q8_0", 127), ("q5_1", 31), ("q4_0", 8)])
def test_quantised_matrices_are_within_their_step_and_nothing_else_is_touched(official, tmp_path, kind, steps):
    spec, weights = official
    write_gguf(weights, spec, tmp_path / "model.gguf", kind)
    found = tidy(read_gguf(tmp_path / "model.gguf"), spec)
    for name, tensor in weights.items():
        error = (found[name].float() - tensor.float()).abs().max()
        large = name.endswith(".weight") and tensor.dim() == 2
        assert (0 < error <= tensor.float().abs().max() / steps * 1.01) if large else error == 0, name


def test_older_versions_are_refused(tmp_path):
    spec = standard_spec("5.2", 2, 64, 32)
    with pytest.raises(CheckpointError, match="RWKV-6 and RWKV-7 only"):
        write_gguf(RandomWeights(spec), spec, tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())


def converted(
    path: Path, weights: Mapping[str, Tensor], *, arch: str = "rwkv7", head: int = 64, every: int = 0
) -> None:
    """A file as llama.cpp's converter lays it out, told tensor by tensor."""
    writer = GGUFWriter(path, arch)
    writer.add_wkv_head_size(head)
    writer.add_token_list(["<s>", "\\x01"])
    if every:
        writer.add_rescale_every_n_layers(every)
    for name, tensor in weights.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor.float().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_rwkv_7_as_the_converter_lays_it_out(data, tmp_path):
    w = {name: x.float() for name, x in load_weights(data / "engine/v7/model.pth").items()}
    spec = read_spec(shapes_of(w))
    theirs = {"token_embd.weight": w["emb.weight"], "output.weight": w["head.weight"]}
    for leaf in ("weight", "bias"):
        theirs[f"output_norm.{leaf}"] = w[f"ln_out.{leaf}"]
        theirs[f"token_embd_norm.{leaf}"] = w[f"blocks.0.ln0.{leaf}"]
    for i in range(2):
        b, g = f"blocks.{i}.", f"blk.{i}."
        for leaf in ("weight", "bias"):
            theirs |= {f"{g}attn_norm.{leaf}": w[f"{b}ln1.{leaf}"], f"{g}attn_norm_2.{leaf}": w[f"{b}ln2.{leaf}"]}
            theirs[f"{g}time_mix_ln.{leaf}"] = w[f"{b}att.ln_x.{leaf}"]
        for n in ("receptance", "key", "value", "output"):
            theirs[f"{g}time_mix_{n}.weight"] = w[f"{b}att.{n}.weight"]
        for n in ("key", "value"):
            theirs[f"{g}channel_mix_{n}.weight"] = w[f"{b}ffn.{n}.weight"]
        theirs[f"{g}time_mix_lerp_fused.weight"] = torch.stack([w[f"{b}att.x_{x}"] for x in "rwkvag"])
        for x in "wavg":
            # In the first layer the converter copies a's for v's.
            source = "a" if i == 0 and x == "v" else x
            for n in "12":
                theirs[f"{g}time_mix_{x}{n}.weight"] = w[f"{b}att.{source}{n}"].T
            if x != "g":
                theirs[f"{g}time_mix_{x}0.weight"] = w[f"{b}att.{source}0"].squeeze()
        for x in ("k_k", "k_a"):
            theirs[f"{g}time_mix_{x}.weight"] = w[f"{b}att.{x}"].squeeze()
        theirs[f"{g}time_mix_r_k.weight"] = w[f"{b}att.r_k"].flatten()
        theirs[f"{g}channel_mix_lerp_k.weight"] = w[f"{b}ffn.x_k"].squeeze()
    converted(tmp_path / "theirs.gguf", theirs)
    assert same(tidy(read_gguf(tmp_path / "theirs.gguf"), spec), tidy(w, spec))


def test_rwkv_6_with_mixes_apart_and_rescaled_layers(data, tmp_path):
    spec = standard_spec("6", 5, 64, 32)
    w = dict(RandomWeights(spec))
    theirs = {"token_embd.weight": w["emb.weight"], "output.weight": w["head.weight"]}
    for leaf in ("weight", "bias"):
        theirs[f"output_norm.{leaf}"] = w[f"ln_out.{leaf}"]
        theirs[f"token_embd_norm.{leaf}"] = w[f"blocks.0.ln0.{leaf}"]
    for i in range(5):
        b, g = f"blocks.{i}.", f"blk.{i}."
        for leaf in ("weight", "bias"):
            theirs |= {f"{g}attn_norm.{leaf}": w[f"{b}ln1.{leaf}"], f"{g}attn_norm_2.{leaf}": w[f"{b}ln2.{leaf}"]}
            theirs[f"{g}time_mix_ln.{leaf}"] = w[f"{b}att.ln_x.{leaf}"]
        for n in ("receptance", "key", "value", "gate"):
            theirs[f"{g}time_mix_{n}.weight"] = w[f"{b}att.{n}.weight"]
        theirs[f"{g}time_mix_output.weight"] = w[f"{b}att.output.weight"] / 2 ** (i // 2)
        theirs[f"{g}channel_mix_value.weight"] = w[f"{b}ffn.value.weight"] / 2 ** (i // 2)
        theirs[f"{g}channel_mix_key.weight"] = w[f"{b}ffn.key.weight"]
        theirs[f"{g}channel_mix_receptance.weight"] = w[f"{b}ffn.receptance.weight"]
        for x in "xwkvrg":
            theirs[f"{g}time_mix_lerp_{x}.weight"] = w[f"{b}att.time_maa_{x}"].squeeze()
        theirs[f"{g}time_mix_w1.weight"] = w[f"{b}att.time_maa_w1"].T
        theirs[f"{g}time_mix_w2.weight"] = w[f"{b}att.time_maa_w2"].permute(0, 2, 1)
        theirs[f"{g}time_mix_decay.weight"] = w[f"{b}att.time_decay"].squeeze()
        theirs[f"{g}time_mix_decay_w1.weight"] = w[f"{b}att.time_decay_w1"].T
        theirs[f"{g}time_mix_decay_w2.weight"] = w[f"{b}att.time_decay_w2"].T
        theirs[f"{g}time_mix_first.weight"] = w[f"{b}att.time_faaaa"]
        for x in "kr":
            theirs[f"{g}channel_mix_lerp_{x}.weight"] = w[f"{b}ffn.time_maa_{x}"].squeeze()
    converted(tmp_path / "theirs.gguf", theirs, arch="rwkv6", every=2)
    assert same(tidy(read_gguf(tmp_path / "theirs.gguf"), spec), w)


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "Q8_0"])
def test_every_type_is_undone_as_gguf_undoes_it(tmp_path, kind):
    wanted = GGMLQuantizationType[kind]
    size = {"Q8_0": 272, "IQ4_NL": 144}.get(kind) or quantised_row(wanted, 256)
    raw = np.random.default_rng(1).integers(0, 64, (8, size), dtype=np.uint8)
    writer = GGUFWriter(tmp_path / "model.gguf", "rwkv7")
    writer.add_tensor("token_embd.weight", raw, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expected = dequantize(raw, wanted)
    found = read_gguf(tmp_path / "model.gguf")["emb.weight"]
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected.astype(np.float32))


def quantised_row(kind: GGMLQuantizationType, elements: int) -> int:
    from gguf.constants import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return elements // block * size


@pytest.mark.parametrize("arch", ["rwkv6qwen2", "arwkv7", "llama"])
def test_other_architectures_are_refused_by_name(tmp_path, arch):
    converted(tmp_path / "model.gguf", {"token_embd.weight": torch.zeros(4, 64)}, arch=arch)
    with pytest.raises(CheckpointError, match=f"a GGUF file of '{arch}'"):
        read_gguf(tmp_path / "model.gguf")


def test_an_unknown_tensor_is_refused(tmp_path):
    converted(tmp_path / "model.gguf", {"blk.0.attn_q.weight": torch.zeros(64, 64)})
    with pytest.raises(CheckpointError, match=r"unknown tensor 'blk.0.attn_q.weight'"):
        read_gguf(tmp_path / "model.gguf")


def head(tensors: int, pairs: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


def text(words: bytes) -> bytes:
    return struct.pack("<Q", len(words)) + words


def info(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


HUGE = 1 << 60
ARCH = text(b"general.architecture") + struct.pack("<I", 8) + text(b"rwkv7")
HOSTILE = {
    "nothing": b"",
    "another magic": b"GGML" + bytes(60),
    "another version": head(0, 0, version=1),
    "tensors without end": head(HUGE, 0),
    "values without end": head(0, HUGE),
    "a key of 100 GB": head(0, 1, struct.pack("<Q", 100 << 30)),
    "a text of 100 GB": head(0, 1, text(b"a") + struct.pack("<IQ", 8, 100 << 30)),
    "a list of 2^60": head(0, 1, text(b"a") + struct.pack("<IIQ", 9, 4, HUGE)),
    "a list of lists": head(0, 1, text(b"a") + struct.pack("<IIQ", 9, 9, 4)),
    "a list of texts without end": head(0, 1, text(b"a") + struct.pack("<IIQ", 9, 8, HUGE)),
    "an unknown type of value": head(0, 1, text(b"a") + struct.pack("<I", 77)),
    "a value twice": head(0, 2, ARCH + ARCH),
    "no UTF-8": head(0, 1, text(b"\xff\xfe")),
    "no dimension": head(1, 1, ARCH + info(b"x", (), 0, 0)),
    "dimensions that overflow": head(1, 1, ARCH + info(b"x", (HUGE, HUGE), 0, 0)),
    "a dimension of nothing": head(1, 1, ARCH + info(b"x", (0, 4), 0, 0)),
    "beyond the file": head(1, 1, ARCH + info(b"x", (4, 4), 0, 1 << 40) + bytes(200)),
    "not aligned": head(1, 1, ARCH + info(b"x", (4, 4), 0, 1) + bytes(200)),
    "an unknown type": head(1, 1, ARCH + info(b"x", (4, 4), 999, 0) + bytes(200)),
    "half a block": head(1, 1, ARCH + info(b"x", (5, 4), 8, 0) + bytes(200)),
    "a name twice": head(2, 1, ARCH + info(b"x", (4, 4), 0, 0) * 2 + bytes(400)),
    "one on the other": head(2, 1, ARCH + info(b"x", (4, 4), 0, 0) + info(b"y", (4, 4), 0, 32) + bytes(400)),
    "no header at all after the counts": head(3, 3),
}
READ = """
import resource, sys
from rwkv_music.checkpoint.gguf_read import read_gguf
from rwkv_music.checkpoint.source import CheckpointError
from pathlib import Path
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        read_gguf(Path(name))
        print("read")
    except CheckpointError as error:
        print(str(error).replace(chr(10), "|"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_no_hostile_header_is_believed(tmp_path):
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.gguf").write_bytes(content)
    names = [str(tmp_path / f"{number}.gguf") for number in range(len(HOSTILE))]
    done = subprocess.run([sys.executable, "-c", READ, *names], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    *lines, grown = done.stdout.splitlines()
    for what, name, line in zip(HOSTILE, names, lines, strict=True):
        assert line.startswith(f"{name}: not a whole GGUF file ("), (what, line)
    # MiB, over what Python and torch hold anyway.
    assert int(grown) < 100


def test_a_cut_or_damaged_file_is_refused_or_still_a_model(official, tmp_path):
    spec, weights = official
    write_gguf(weights, spec, tmp_path / "whole.gguf", "q8_0")
    whole = bytearray((tmp_path / "whole.gguf").read_bytes())
    draw = np.random.default_rng(5)
    for trial in range(40):
        damaged = bytearray(whole[: int(draw.integers(len(whole)))]) if trial % 2 else bytearray(whole)
        for place in draw.integers(0, min(len(damaged), 6000) or 1, 3):
            if place < len(damaged):
                damaged[place] ^= int(draw.integers(1, 256))
        (tmp_path / "damaged.gguf").write_bytes(damaged)
        try:
            found = read_gguf(tmp_path / "damaged.gguf")
            for name in found:
                found[name]
        except CheckpointError as error:
            assert "\n" not in str(error)
