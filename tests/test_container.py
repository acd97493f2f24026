import json
import os
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai import container
from tipsai.core.errors import ArtifactError, OutputError

MANIFEST = {"format_version": 1, "kind": "test"}
TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False])}


def _write(path, tensors=TENSORS, **documents):
    container.write(path, {"manifest": MANIFEST, **documents}, {"model": tensors})
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("container") / "whole.tips", notes={"é": [1, 2.5, None]}).read_bytes()


def test_what_was_written_comes_back(tmp_path):
    documents, groups = container.read(_write(tmp_path / "a.tips", notes={"é": [1, 2.5, None]}))
    assert documents == {"manifest": MANIFEST, "notes": {"é": [1, 2.5, None]}}
    assert groups["model"].keys() == TENSORS.keys()
    assert all(torch.equal(groups["model"][name], t) for name, t in TENSORS.items())


def test_equal_contents_give_equal_bytes(tmp_path, monkeypatch):
    first = _write(tmp_path / "a.tips").read_bytes()
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert _write(tmp_path / "b.tips").read_bytes() == first


def test_it_is_a_zip_that_any_tool_opens(tmp_path):
    with zipfile.ZipFile(_write(tmp_path / "a.tips")) as archive:
        assert archive.namelist() == ["manifest.json", "model.safetensors"] and archive.testzip() is None
        assert json.loads(archive.read("manifest.json")) == MANIFEST


@given(share=hyp.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_a_truncated_file_is_an_error(tmp_path_factory, whole, share):
    path = tmp_path_factory.getbasetemp() / "truncated.tips"
    path.write_bytes(whole[: len(whole) * share // 1000])
    with pytest.raises(ArtifactError, match="truncated.tips is no artifact, is truncated, or was changed.*anew"):
        container.read(path)


@given(at=hyp.integers(0, 10**6), bit=hyp.integers(0, 7))
@settings(deadline=None, max_examples=150)
def test_any_flipped_bit_is_an_error(tmp_path_factory, whole, at, bit):
    data = bytearray(whole)
    data[at % len(data)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.tips"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="was changed"):
        container.read(path)


@pytest.mark.parametrize("extra", [b"x", b"PK\x05\x06" + bytes(18)])
def test_bytes_added_at_the_end_are_an_error(tmp_path, whole, extra):
    (tmp_path / "a.tips").write_bytes(whole + extra)
    with pytest.raises(ArtifactError, match="was changed"):
        container.read(tmp_path / "a.tips")


@pytest.mark.parametrize("data", [b"", b"PK", b"no artifact " * 99])
def test_a_file_of_another_kind_is_an_error(tmp_path, data):
    (tmp_path / "a.tips").write_bytes(data)
    with pytest.raises(ArtifactError, match="is no artifact"):
        container.read(tmp_path / "a.tips")


def test_a_compressed_member_is_refused(tmp_path):
    with open(tmp_path / "a.tips", "w+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("manifest.json", "0" * 10**6)
            archive.comment = b" " * container.SEAL_LENGTH
        file.write(container._seal(file))
    with pytest.raises(ArtifactError, match="manifest.json is compressed"):
        container.read(tmp_path / "a.tips")


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match=r"is a folder; expected an artifact: a file that ends in .tips.$"):
        container.read(tmp_path)
    (tmp_path / "model.tips").touch()
    with pytest.raises(ArtifactError, match="Did you mean '.*/model.tips'"):
        container.read(tmp_path)
    with pytest.raises(ArtifactError, match="there is no file.*none.tips; expected an artifact"):
        container.read(tmp_path / "none.tips")


@pytest.mark.parametrize("version", [2, "1", None])
def test_a_newer_format_asks_for_an_upgrade(tmp_path, version):
    container.write(tmp_path / "a.tips", {"manifest": {"format_version": version}})
    with pytest.raises(ArtifactError, match=f"has format {version}; this version reads up to 1. Upgrade: pip install"):
        container.read(tmp_path / "a.tips")


@pytest.mark.parametrize("document", [[], {}, None])
def test_a_manifest_without_a_version_is_an_error(tmp_path, document):
    container.write(tmp_path / "a.tips", {"manifest": document})
    with pytest.raises(ArtifactError, match="cannot be read"):
        container.read(tmp_path / "a.tips")


def test_tied_weights_are_saved_once_and_come_back_tied(tmp_path):
    def model():
        net = nn.ModuleDict({"embed": nn.Embedding(500, 16), "head": nn.Linear(16, 500, bias=False)})
        net["head"].weight = net["embed"].weight
        return net

    tied, loose = model(), nn.ModuleDict({"embed": nn.Embedding(500, 16), "head": nn.Linear(16, 500, bias=False)})
    size = {
        name: os.path.getsize(_write(tmp_path / name, net.state_dict())) for name, net in (("t", tied), ("l", loose))
    }
    assert size["l"] - size["t"] > 0.9 * 500 * 16 * 4
    weights = container.read(tmp_path / "t")[1]["model"]
    assert weights["head.weight"] is weights["embed.weight"]
    fresh = model()
    fresh.load_state_dict(weights)
    assert fresh["head"].weight is fresh["embed"].weight and torch.equal(fresh["embed"].weight, tied["embed"].weight)


def test_tensors_that_share_memory_in_other_ways_come_back_equal(tmp_path):
    base = torch.arange(12.0)
    shared = {
        "all": base,
        "view": base.view(3, 4),
        "half": base[:6],
        "transposed": base.view(3, 4).T,
        "bits": base.view(torch.int32),
        "empty": base[:0],
        "empty too": base[:0],
        "scalar": base[3],
        "expanded": base[:1].expand(4),
    }
    found = container.read(_write(tmp_path / "a.tips", shared))[1]["model"]
    assert all(torch.equal(found[name], t) for name, t in shared.items()) and found.keys() == shared.keys()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint8, torch.bool])
def test_every_dtype_comes_back(tmp_path, dtype):
    t = torch.tensor([0, 1, 3]).to(dtype)
    found = container.read(_write(tmp_path / "a.tips", {"t": t}))[1]["model"]["t"]
    assert found.dtype == dtype and torch.equal(found, t)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(5, "input/output error")])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = _write(tmp_path / "a.tips")
    old = path.read_bytes()
    real = zipfile.ZipFile.writestr

    def failing(self, info, data):
        if info.filename.endswith(".safetensors"):
            raise error
        return real(self, info, data)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", failing)
    expected = OutputError if isinstance(error, OSError) else error
    with pytest.raises(expected):
        _write(path, {"a": torch.zeros(2)})
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.tips"]


@pytest.mark.parametrize("fails", ["fsync", "replace", "chmod"])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch, fails):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OutputError, match=r"cannot write .*a\.tips: the disk is full\. Free some room"):
        _write(tmp_path / "a.tips")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("code", "reason"), [(13, "no permission"), (30, "read-only"), (5, "boo")])
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, code, reason):
    def refuse(**kwargs):
        raise OSError(code, "boo")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(OutputError, match=f"a.tips: .*{reason}"):
        _write(tmp_path / "a.tips")


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        _write(tmp_path / "file" / "a.tips")


def test_folders_are_made_and_permissions_are_the_users(tmp_path):
    old = os.umask(0o027)
    try:
        path = _write(tmp_path / "new" / "folder" / "a.tips")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


tensors = hyp.builds(
    lambda shape, dtype, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 9).to(dtype),
    hyp.lists(hyp.integers(0, 3), max_size=3),
    hyp.sampled_from([torch.float32, torch.int64, torch.bool]),
    hyp.integers(0, 99),
)
plain = hyp.none() | hyp.booleans() | hyp.integers() | hyp.floats(allow_nan=False) | hyp.text(max_size=5)
keys = hyp.integers() | hyp.text(max_size=5) | hyp.booleans()
trees = hyp.recursive(
    plain | tensors, lambda t: hyp.lists(t, max_size=3) | hyp.dictionaries(keys, t, max_size=3), max_leaves=12
)


def _equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_equal, a, b))
    return type(a) is type(b) and a == b


@given(tree=trees)
@settings(deadline=None, max_examples=100)
def test_unpack_is_the_inverse_of_pack_through_a_file(tmp_path_factory, tree):
    found = {}
    packed = container.pack(tree, found, "state")
    path = tmp_path_factory.getbasetemp() / "packed.tips"
    container.write(path, {"manifest": MANIFEST, "state": packed}, {"state": found})
    documents, groups = container.read(path)
    assert _equal(container.unpack(documents["state"], groups["state"]), tree)


def test_keys_that_would_clash_keep_their_own_tensors():
    tree = {"a": {"b": torch.tensor(1)}, "a.b": torch.tensor(2), 1: torch.tensor(3), "1": torch.tensor(4)}
    found = {}
    again = container.unpack(container.pack(tree, found), found)
    assert {k: v.item() for k, v in again.items() if k != "a"} == {"a.b": 2, 1: 3, "1": 4}
    assert again["a"]["b"].item() == 1


def test_infinite_numbers_come_back():
    tree = [float("inf"), float("-inf")]
    assert json.loads(json.dumps(container.pack(tree, {}))) == tree


def test_what_is_no_plain_data_is_named():
    with pytest.raises(TypeError, match=r"state\.a\.1 is a set; state that is saved must be plain data and tensors"):
        container.pack({"a": [1, {2}]}, {}, "state")
