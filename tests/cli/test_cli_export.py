"""`gpunet export`: what it writes is the network, and what it prints runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import images_and_labels
from model_files import as_format_1
from safetensors.numpy import save_file
from tolerances import assert_same_bits

from gpunet import MLP, load_model, save_model

IMAGES = images_and_labels(20, 10)[0]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "export.py"


@pytest.fixture
def run_folder(tmp_path):
    """A folder with a model, as a run leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_model(folder / "model.safetensors", MLP((784, 8, 10), seed=1), tuple("0123456789"), task="multiclass")
    return folder


def printed_code(outcome):
    """What stands below the first line of the output, by which the file is read."""
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out.split("\n\n", 1)[1]


@pytest.mark.parametrize(
    ("options", "given", "output"),
    [
        ([], IMAGES, "logits"),
        (["--input", "uint8", "--probabilities"], IMAGES, "probabilities"),
        (["--input", "float"], IMAGES / np.float32(255), "logits"),
    ],
    ids=["as it comes", "probabilities", "float"],
)
def test_export_writes_onnx_and_says_how_it_is_run(gpunet, run_folder, options, given, output):
    pytest.importorskip("onnx")
    outcome = gpunet("export", run_folder, *options)
    code = printed_code(outcome)
    assert outcome.out.startswith(f"{run_folder}/model.onnx: ONNX, opset 13; images {given.dtype} [n, 784] to {output}")
    assert [each.name for each in run_folder.iterdir() if "onnx" in each.name] == ["model.onnx"]

    pytest.importorskip("onnxruntime")
    variables = {"images": given}
    exec(code, variables)
    network = load_model(run_folder / "model.safetensors").network
    expected = network.predict_proba(IMAGES) if output == "probabilities" else network.logits(IMAGES)
    np.testing.assert_allclose(variables[output], expected, rtol=1e-5, atol=1e-5)


def test_export_writes_where_it_is_told(gpunet, run_folder, own_folder):
    onnx = pytest.importorskip("onnx")
    assert gpunet("export", run_folder / "model.safetensors", "--out", "new/folder/net.ONNX").status == 0
    facts = {entry.key: entry.value for entry in onnx.load(own_folder / "new/folder/net.ONNX").metadata_props}
    assert json.loads(facts["class_names"]) == [*"0123456789"]
    assert facts["task"] == "multiclass"  # what the model's header says goes along


@pytest.mark.parametrize("format_version", [1, 2])
def test_export_for_torch_prints_the_sequential_that_loads(gpunet, run_folder, format_version):
    model = run_folder / "model.safetensors"
    saved = load_model(model)
    if format_version == 1:
        as_format_1(model)
    before = model.read_bytes()
    outcome = gpunet("export", run_folder, "--format", "torch")
    code = printed_code(outcome)
    assert model.read_bytes() == before
    written = run_folder / "model-torch.safetensors"
    if format_version == 1:
        assert outcome.out.startswith(f"{written}: ")
        again = load_model(written)
        assert_same_bits(again.network.parameters, saved.network.parameters)
        assert again.metadata == saved.metadata
    else:
        assert outcome.out.startswith(f"{model} has PyTorch's names and layout already\n")
        assert [each.name for each in run_folder.iterdir()] == [model.name]

    torch = pytest.importorskip("torch")
    variables = {"images": torch.from_numpy(IMAGES)}
    exec(code, variables)
    np.testing.assert_allclose(variables["logits"].detach().numpy(), saved.network.logits(IMAGES), rtol=1e-5, atol=1e-5)


def test_export_for_torch_copies_where_it_is_told(gpunet, run_folder, own_folder):
    assert gpunet("export", run_folder, "--format", "torch", "--out", "copy.safetensors").status == 0
    assert (own_folder / "copy.safetensors").read_bytes() == (run_folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "model.pt"], [".onnx", "model.pt"]),
        (["--out", "model.safetensors"], [".onnx", "model.safetensors"]),
        (["--format", "torch", "--out", "model.onnx"], [".safetensors", "model.onnx"]),
        (["--format", "torch", "--input", "float"], ["--format onnx"]),
        (["--format", "torch", "--probabilities"], ["--format onnx"]),
        (["--out", "there.onnx"], ["there.onnx", "already", "--out"]),
        (["--format", "torch", "--out", "there.safetensors"], ["there.safetensors", "already"]),
        (["--format", "caffe"], ["--format"]),
        (["--input", "int8"], ["--input"]),
    ],
    ids=str,
)
def test_export_refuses_unusable_options(refused, run_folder, own_folder, options, words):
    for name in ("there.onnx", "there.safetensors"):
        (own_folder / name).write_bytes(b"something else")
    refused("export", run_folder, *options, words=words)
    assert sorted(each.name for each in own_folder.iterdir()) == ["there.onnx", "there.safetensors"]
    assert (own_folder / "there.onnx").read_bytes() == b"something else"


def test_export_says_where_it_cannot_write(refused, run_folder, own_folder):
    pytest.importorskip("onnx")
    (own_folder / "file").write_bytes(b"")
    refused("export", run_folder, "--out", "file/model.onnx", words=["file/model.onnx", "cannot be written"])


def test_export_refuses_what_is_no_model(refused, own_folder):
    refused("export", "nothing", words=["no model file nothing"])
    refused("export", own_folder, words=["model.safetensors"])
    save_file({"0.weight": np.zeros((2, 2), np.float32)}, "foreign.safetensors")
    refused("export", "foreign.safetensors", words=["not written by gpunet", "gpunet import"])


def test_export_gives_no_probabilities_of_the_squared_error(refused):
    save_model("squared.safetensors", MLP((4, 3), loss="squared_error"), ("a", "b", "c"))
    refused("export", "squared.safetensors", "--probabilities", words=["no probabilities"])


def test_export_without_onnx_says_how_to_get_it(refused, run_folder, own_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused("export", run_folder, "--out", "new/model.onnx", words=['pip install "gpunet[onnx]"'])
    assert not list(own_folder.iterdir())


def test_export_script_is_the_sub_command():
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: gpunet export")
