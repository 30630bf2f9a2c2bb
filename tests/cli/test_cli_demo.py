"""gpunet demo: the page that it writes, and what is said where it cannot."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from gpunet.checkpoint import save_model
from gpunet.network import MLP


def network_in(page):
    return json.loads(re.search(r'<script type="application/json" id="model">(.*?)</script>', page, re.DOTALL)[1])


def test_demo_writes_a_page_beside_the_model(gpunet, trained, own_folder):
    shutil.copytree(trained, "run")
    outcome = gpunet("demo", "run")
    assert outcome.status == 0 and outcome.err == ""
    assert outcome.out.startswith("run/demo.html: ") and "12 test images" in outcome.out
    page = (own_folder / "run" / "demo.html").read_text(encoding="utf-8")
    assert network_in(page)["sizes"] == [784, 64, 10] and len(network_in(page)["examples"]) == 12
    assert gpunet("demo", "run/model.safetensors") == outcome  # the same page once more
    assert (own_folder / "run" / "demo.html").read_text(encoding="utf-8") == page


def test_demo_takes_another_place_and_number_of_examples(gpunet, trained, own_folder):
    assert gpunet("demo", trained, "--out", "pages/mine.html", "--examples", "3").status == 0
    assert len(network_in((own_folder / "pages" / "mine.html").read_text())["examples"]) == 3
    outcome = gpunet("demo", trained, "--out", "none.html", "--examples", "0")
    assert outcome.status == 0 and outcome.err == "" and "0 test images" in outcome.out
    assert not (trained / "demo.html").exists()


def test_demo_of_a_model_without_a_run_has_no_examples(gpunet, own_folder):
    save_model("binary.safetensors", MLP((784, 1), seed=1), ("cat", "dog"))
    outcome = gpunet("demo", "binary.safetensors")
    assert outcome.status == 0 and "note: there are no example images" in outcome.err and "metrics.json" in outcome.err
    assert network_in((own_folder / "demo.html").read_text())["classNames"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--out", "demo.png"), "demo.png"),
        (("--out", "report.html"), "not overwritten"),
        (("--examples", "-1"), "--examples"),
        (("--examples", "many"), "no whole number"),
    ],
)
def test_demo_refuses_unusable_options(refused, trained, own_folder, options, word):
    (own_folder / "report.html").write_text("<title>a report</title>")
    assert refused("demo", trained, *options, words=[word]).out == ""
    assert (own_folder / "report.html").read_text() == "<title>a report</title>"


def test_demo_refuses_models_of_other_inputs(refused, own_folder):
    save_model("small.safetensors", MLP((20, 2)), ("a", "b"))
    refused("demo", "small.safetensors", words=["trained on 20 inputs"])
    refused("demo", "missing", words=["missing"])
    np.save("image.npy", np.zeros((28, 28)))
    refused("demo", "image.npy", words=["image.npy"])
    assert not (own_folder / "demo.html").exists()
