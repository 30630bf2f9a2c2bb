"""roofline: what is counted, worked out by hand; what the model makes of it; and that modelled and measured figures are
never taken for each other."""

from __future__ import annotations

import json

import pytest
import roofline
from device_clock import Ceiling
from model import figure as roofline_figure
from model.step import LIMITS, Floor, Limits, StepModel, largest_in_l2
from PIL import Image
from roofline import EXP2, Measured, measured_steps, model_results

T4, H100 = LIMITS["Tesla T4"], LIMITS["NVIDIA H100 80GB HBM3"]

# 4-3-2, a batch of 5. A layer of 4 x 3 and one of 3 x 2: 15 and 8 parameters, which lie on multiples of 32 floats.
SMALL = StepModel((4, 3, 2), rows=5, training_rows=50)
# A device on which a microsecond is an operation, or a byte of memory, or two of the L2 cache.
SLOW = Limits(Ceiling(1e6, 1e6), l2_bytes=3000, l2_bandwidth=2e6, copy_bandwidth=0.5e6, node_us=7.0)


# What is counted


def test_roofline_counts_the_small_step_as_by_hand():
    forward, head, update = SMALL.kernels
    assert (forward.name, forward.flops) == ("dense_forward", 2 * 5 * 4 * 3)
    # rows of four bytes and their numbers, parameters, results
    assert forward.bytes == 5 * (4 + 4) + 4 * 15 + 4 * 5 * 3 and forward.parameter_bytes == 4 * 15
    assert (head.name, head.flops) == ("dense_head", 2 * (2 * 5 * 3 * 2))  # logits, and the gradient of the input
    # x, dx and row numbers; parameters; logits and their gradient; labels and losses; hits
    assert head.bytes == 4 * (2 * 15 + 5) + 4 * 8 + 4 * (2 * 10) + 4 * (2 * 5) + 5
    assert head.parameter_bytes == 4 * 8
    assert (update.name, update.flops) == ("dense_update", 2 * 5 * (12 + 6))
    # rows again; hidden activations and both gradients; w, m and v, read and written
    assert update.bytes == 5 * 8 + 4 * 5 * (3 + 3 + 2) + 4 * 6 * 23 and update.parameter_bytes == 4 * 6 * 23
    assert SMALL.whole.flops == forward.flops + head.flops + update.flops
    assert SMALL.whole.parameter_bytes == 4 * 7 * 23


def test_roofline_counts_the_layers_between():
    names = [kernel.name for kernel in StepModel((4, 3, 6, 2), 5, 50).kernels]
    assert names == ["dense_forward", "dense_forward", "dense_head", "dense_backward", "dense_update"]
    backward = StepModel((4, 3, 6, 2), 5, 50).kernels[3]
    assert backward.flops == 2 * 5 * 3 * 6 and backward.parameter_bytes == 4 * 3 * 6


def test_roofline_working_set_is_state_activations_and_images():
    # Weights and biases of both layers take 4 x 32 floats; two arrays of 3 + 2 units.
    assert SMALL.working_set(1) == 4 * 3 * 128 + 4 * 5 * 2 * 5 + 50 * 4
    assert SMALL.working_set(3) == 3 * (4 * 3 * 128 + 4 * 5 * 2 * 5) + 50 * 4
    assert largest_in_l2(SMALL, SLOW) == 1 and largest_in_l2(SMALL, SLOW._replace(l2_bytes=100)) == 0


def test_roofline_counts_a_thousand_networks_as_the_references_do():
    """26.6 GFLOP (1024 times 26 million) and about 1.46 GB a step; 0.40 and 0.49 ms on an H100, the latter by a copy's
    3.0 TB/s."""
    whole = EXP2.whole
    assert whole.flops == 2 * 128 * (2 * (784 * 64 + 64 * 10) + 64 * 10) == 26_181_632
    assert 1024 * whole.flops == pytest.approx(26.6e9, rel=0.01)
    assert EXP2.memory_bytes(whole, 1024, H100) == 1024 * 7 * 4 * 50_890 == pytest.approx(1.46e9, rel=0.005)
    assert EXP2.floor(1024, H100).flops == pytest.approx(400, abs=5)
    assert EXP2.copy_us(1024, H100) == pytest.approx(490, abs=5)
    assert EXP2.floor(1, T4).flops == pytest.approx(3.2, abs=0.05)
    assert EXP2.floor(1, H100).flops == pytest.approx(0.4, abs=0.05)


# What the model makes of it


def test_roofline_floor_is_the_longest_of_each_kernel_and_its_node():
    forward, head, update = SMALL.kernels
    assert SMALL.kernel_floor(forward, 1, SLOW) == Floor(120, 0, forward.bytes / 2, 7, 120 + 7)  # all in the L2 cache
    assert SMALL.kernel_floor(head, 1, SLOW)[-1] == max(head.flops, head.bytes / 2) + 7 == head.bytes / 2 + 7
    assert SMALL.kernel_floor(update, 2, SLOW) == Floor(360, 2 * 552, update.bytes, 7, 2 * 552 + 7)  # not any more
    one = SMALL.floor(1, SLOW)
    assert one.launches == 21 and one.memory == 0
    assert one.together == pytest.approx(120 + head.bytes / 2 + update.bytes / 2 + 21)
    assert SMALL.copy_us(1, SLOW) == 0 and SMALL.copy_us(2, SLOW) == 2 * 4 * 7 * 23 / 0.5
    assert SMALL.copy_us(2, SLOW._replace(copy_bandwidth=None)) is None


@pytest.mark.parametrize("limits", [T4, H100])
@pytest.mark.parametrize("networks", roofline.POPULATIONS)
def test_roofline_nothing_by_itself_exceeds_all_together(limits, networks):
    *each, together = EXP2.floor(networks, limits)
    assert max(each) <= together <= sum(each)


# Beside what was measured


def device_file(device, *rows):
    """As bench_device.py writes it: (backend, network, networks, us a step)."""
    keys = ("backend", "network", "networks")
    return {
        "device": {"device": device},
        "rows": [
            dict(zip(keys, row[:3], strict=True)) | {"batch_size": 128, "us_per_step": {"median": row[3]}}
            for row in rows
        ],
    }


def write(folder, **files):
    for name, results in files.items():
        (folder / f"{name}.json").write_text(json.dumps(results))


def test_roofline_takes_the_fastest_measured_step_of_this_network_on_a_device(tmp_path):
    on_t4 = device_file(
        "Tesla T4",
        ("cuda", "784-64-10", 1, 30.0),
        ("cuda", "784-64-10", 1, 20.0),
        ("numpy", "784-64-10", 1, 1.0),
        ("cuda", "784-10-1", 1, 2.0),
        ("cuda", "784-64-10", 64, 900.0),
    )
    rows = [{"networks": 64, "rate": {}, "us_per_step": {"gpunet (CUDA graph)": {"median": 800.0}}}]
    population = {"device": {"device": "Tesla T4"}, "sizes": [784, 64, 10], "batch_size": 128, "rows": rows}
    checked = {"parts": [{"part": "training", "results": device_file("NVIDIA H200", ("cuda", "784-64-10", 1, 9.0))}]}
    on_cpu = {"device": None, "rows": [{"networks": 1, "rate": {}, "us_per_step": {}}]}
    write(tmp_path, a=on_t4, b=population, c=checked, d=on_cpu, e={"device": "Numba's CUDA simulator"}, f=[])
    assert measured_steps(tmp_path, EXP2) == {
        ("Tesla T4", 1): Measured(20.0, "a.json"),
        ("Tesla T4", 64): Measured(800.0, "b.json"),
        ("NVIDIA H200", 1): Measured(9.0, "c.json"),
    }


def test_roofline_results_keep_modelled_and_measured_apart(capsys):
    results = model_results(EXP2, {("Tesla T4", 16): Measured(123.0, "file.json")})
    t4, h100 = results["devices"]
    assert (t4["name"], h100["name"]) == ("T4", "H100")
    assert [row["networks"] for row in t4["rows"]] == [1, 16, 64, 256, 1024]
    assert [row["measured_us"] for row in t4["rows"]] == [None, 123.0, None, None, None]
    assert t4["rows"][1]["measured_in"] == "file.json"
    assert all(row["measured_us"] is None and row["measured_in"] is None for row in h100["rows"])
    assert h100["rows"][-1]["modelled_us"]["flops"] == pytest.approx(400, abs=5)
    roofline.show(results)
    printed = capsys.readouterr().out
    assert "modelled, in us" in printed and "123.0 measured" in printed and printed.count("not measured") == 9


def test_roofline_says_when_a_device_was_faster_than_the_model(capsys):
    roofline.show(model_results(EXP2, {("Tesla T4", 1): Measured(5.0, "file.json")}))
    assert "5.0 measured, less than modelled: the model is wrong" in capsys.readouterr().out


def test_roofline_writes_results_and_a_figure(capsys, tmp_path):
    path = tmp_path / "new" / "roofline.json"
    write(tmp_path, t4=device_file("Tesla T4", ("cuda", "784-64-10", 1, 30.0)))
    assert roofline.main(["--measured", str(tmp_path), "--out", str(path)]) == 0
    results = json.loads(path.read_text())
    assert "modelled, not measured" in results["what"] and len(results["devices"]) == 2
    assert results["devices"][0]["rows"][0]["measured_us"] == 30.0
    with Image.open(path.with_suffix(".png")) as figure:
        assert figure.width > 1000 and figure.convert("L").getextrema() == (0, 255)
    assert f"written: {path}" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "[", '{"device": {}, "rows": [1]}'])
def test_roofline_refuses_what_it_cannot_read_in_a_sentence(capsys, tmp_path, content):
    folder = tmp_path / "missing"
    if content is not None:
        folder.mkdir()
        (folder / "results.json").write_text(content)
    assert roofline.main(["--measured", str(folder), "--out", str(tmp_path / "new.json")]) == 2
    error = capsys.readouterr().err
    assert str(folder) in error and error.count("\n") == 1


def test_roofline_labels_lie_apart():
    labels = roofline_figure._labels({1: 1.0, 16: 5.0, 64: 8.0, 256: 5.1, 1024: 5.2})
    assert [words for _, words in labels] == ["P = 1", "P = 16, 256, 1024", "P = 64"]
    in_a_row = roofline_figure._labels({1: 1.0, 16: 5.0, 64: 5.1, 256: 5.2})
    assert [words for _, words in in_a_row] == ["P = 1", "P = 16\N{EN DASH}256"]
