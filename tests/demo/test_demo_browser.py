"""The demo page in a headless browser: what it computes, how it reads images, and what a person sees of it."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from browser import run_in_page
from demo_cases import IMAGES, KINDS, model
from PIL import Image

from gpunet.data import read_image
from gpunet.demo import Examples, demo_page
from gpunet.demo.page import saved_network
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.prediction import predict_images

CLOSE = 1e-5  # of the page's float64 sums to float32's


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the page's own functions make of 100 images: {kind: [scores, effects of units, class] an image}."""
    script = f"""
        const pixels = {json.dumps([base64.b64encode(image.tobytes()).decode() for image in IMAGES])}.map(readBytes);
        const networks = {json.dumps([saved_network(model(kind)) for kind in KINDS])}.map(readNetwork);
        return [network, ...networks].map((each) => pixels.map((image) => {{
            const {{ best, scores, values }} = predict(each, image);
            return [scores, contributions(each, values, best), best];
        }}));"""
    page = demo_page(model("one hidden layer"))
    embedded, *others = run_in_page(page, script, tmp_path_factory.mktemp("browser"))
    return {"the page's": embedded} | dict(zip(KINDS, others, strict=True))


@pytest.mark.parametrize("kind", ["the page's", *KINDS])
def test_browser_gives_the_probabilities_of_predict(answers, kind):
    known = model("one hidden layer" if kind == "the page's" else kind)
    expected = predict_images(known, IMAGES)
    scores = np.array([each[0] for each in answers[kind]])
    assert [known.class_names[each[2]] for each in answers[kind]] == [each.class_name for each in expected]
    if known.network.loss == "squared_error":
        logits = known.network.logits(IMAGES)
        wanted = logits if logits.shape[1] > 1 else np.hstack([1 - logits, logits])
    else:
        ranked = [dict(zip(each.classes, each.probabilities, strict=True)) for each in expected]
        wanted = np.array([[each[name] for name in known.class_names] for each in ranked])
    assert scores.shape == wanted.shape == (100, len(known.class_names))
    assert wanted.std(axis=0).max() > 1000 * CLOSE, "the images are all alike to this network"
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=CLOSE)


def output_by_first_layer(network, a, best):
    """The output of the class `best` for activations ``[H]`` of the first layer, in float64."""
    last = len(network.layers) - 1
    for index, (weight, bias) in enumerate(network.layers[1:], start=1):
        a = a @ weight[0].astype(np.float64) + bias[0]
        if index < last:
            ACTIVATIONS[network.activation][0](a)
    return a[best] if len(a) > 1 else (a[0] if best else -a[0])


@pytest.mark.parametrize("kind", KINDS)
def test_browser_effects_of_units_are_activation_times_derivative(answers, kind):
    network = model(kind).network
    weight, bias = (array[0].astype(np.float64) for array in network.layers[0])
    for image, (_, effects, best) in zip(IMAGES[:10], answers[kind], strict=False):
        a = image / 255 @ weight + bias
        if len(network.layers) == 1:
            wanted = a
        else:
            ACTIVATIONS[network.activation][0](a)
            wanted = []
            for unit in range(len(a)):
                step = np.zeros(len(a))
                step[unit] = 1e-6
                above, below = (output_by_first_layer(network, a + sign * step, best) for sign in (1, -1))
                wanted.append(a[unit] * (above - below) / 2e-6)
        np.testing.assert_allclose(effects, wanted, rtol=1e-6, atol=1e-6)


# (width, height) of pictures: the network's own, larger, smaller, flat, tall, at Python's rounding of halves, one row.
SIZES = [(28, 28), (280, 280), (600, 301), (100, 37), (37, 70), (5, 3), (1, 1), (29, 28), (112, 6), (112, 10), (200, 1)]
TALLER = [(37, 100), (20, 143), (2, 300)]  # more than twice as tall as wide: see image.js


def png(image):
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def noise(size, mode):
    rng = np.random.default_rng(sum(size))
    width, height = size
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode=mode)


def test_browser_reads_images_as_predict_does(tmp_path):
    pictures = [noise(size, mode) for mode in ("L", "RGB") for size in SIZES + TALLER] + [noise((60, 50), "RGBA")]
    script = f"""
        const results = [];
        for (const each of {json.dumps([base64.b64encode(png(picture)).decode() for picture in pictures])}) {{
            await openImage(new File([readBytes(each)], "picture.png", {{ type: "image/png" }}));
            results.push(Array.from(view.pixels));
        }}
        byId("invert").click();
        results.push(Array.from(view.pixels));
        return results;"""
    *results, upside_down = np.array(run_in_page(demo_page(model("binary")), script, tmp_path))
    for picture, result in zip(pictures, results, strict=True):
        (tmp_path / "picture.png").write_bytes(png(picture))
        expected, _ = read_image(tmp_path / "picture.png")
        allowed = 2 if picture.mode == "RGBA" else 1 if picture.size in TALLER else 0
        assert abs(result - expected.astype(int)).max() <= allowed, f"{picture.mode} {picture.size}"
    inside = results[-1].reshape(28, 28)[3:25]  # 60 x 50 leaves black above and below, which stays black
    assert abs(255 - inside - upside_down.reshape(28, 28)[3:25]).max() <= 1
    assert not upside_down.reshape(28, 28)[:2].any()


def test_browser_shows_examples_drawings_and_files(tmp_path):
    hostile = ("<img src=x onerror=alert(1)>", "</script><b>bold</b>", "{{model}}", "d", "e", "f", "g", "h", "i", "j")
    known = model("one hidden layer", hostile)
    labels = known.network.predict(IMAGES[:4])
    labels[3] = (labels[3] + 1) % 10  # misread
    script = """
        const text = (id) => byId(id).textContent;
        const state = () => ({
            best: text("best"), share: text("share"), status: text("status"), pixels: view.pixels && [...view.pixels],
            bars: [...byId("bars").children].map((row) => [...row.children].map((each) => each.textContent)),
            effects: [...document.querySelectorAll(".effect")].map((each) =>
                parseFloat(each.textContent.replace("\\u2212", "-"))),
        });
        const key = (name, shiftKey) =>
            byId("drawing").dispatchEvent(new KeyboardEvent("keydown", { key: name, shiftKey, cancelable: true }));
        const found = { foreign: document.querySelectorAll("img, b:not(.cards b)").length, begin: state() };
        found.labels = [...byId("examples").children].map((each) => each.getAttribute("aria-label"));
        byId("examples").children[2].click();
        found.example = state();
        byId("more").click();
        found.all = document.querySelectorAll(".units figure").length;
        byId("clear").click();
        found.cleared = state();
        for (let k = 0; k < 6; k++) key("ArrowRight", true);
        for (let k = 0; k < 4; k++) key("ArrowDown", false);
        found.drawn = state();
        byId("drawing").setPointerCapture = () => {};
        const box = byId("drawing").getBoundingClientRect();
        for (const [type, x, y] of [["pointerdown", 0.1, 0.1], ["pointermove", 0.1, 0.9], ["pointerup", 0.1, 0.9]])
            byId("drawing").dispatchEvent(new PointerEvent(type,
                { clientX: box.left + x * box.width, clientY: box.top + y * box.height, button: 0 }));
        found.stroke = state();
        const transfer = new DataTransfer();
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
        found.nothing = state();
        say("");
        transfer.items.add(new File(["no image"], "<i>.png", { type: "image/png" }));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
        while (!text("status")) await new Promise((done) => setTimeout(done, 10));
        found.unreadable = state();
        const paper = new ImageData(40, 40);
        paper.data.fill(255);
        await openImage(paper);
        found.paper = state();
        return found;"""
    found = run_in_page(demo_page(known, Examples(IMAGES[:4], labels)), script, tmp_path)
    predicted = predict_images(known, IMAGES[:4])

    assert found["foreign"] == 0
    assert [f"misread as {predicted[3].class_name}" in label for label in found["labels"]] == [False] * 3 + [True]
    for state, image, prediction in (("begin", 0, predicted[0]), ("example", 2, predicted[2])):
        assert found[state]["pixels"] == IMAGES[image].tolist()
        assert found[state]["best"] == prediction.class_name
        assert f"{100 * prediction.probability:.1f}%" in found[state]["share"]
        assert [row[0] for row in found[state]["bars"]] == list(hostile)
        shown = {row[0]: float(row[2].rstrip("%")) for row in found[state]["bars"]}
        for name, probability in zip(prediction.classes, prediction.probabilities, strict=True):
            assert abs(shown[name] - 100 * probability) < 0.051
    effects = found["example"]["effects"]
    assert len(effects) == 24 and effects == sorted(effects, reverse=True) and effects[0] > 0
    assert found["all"] == 64

    assert found["cleared"]["pixels"] is None and found["cleared"]["best"] == "?"
    drawn, stroke = (np.array(found[name]["pixels"]).reshape(28, 28) for name in ("drawn", "stroke"))
    assert drawn[14, 14:21].min() > 240 and not drawn[:12].any() and not drawn[17:].any() and not drawn[:, :12].any()
    np.testing.assert_array_equal(stroke[:, 14:], drawn[:, 14:])
    assert stroke[4:24, 2:4].min() > 200
    assert "no image file" in found["nothing"]["status"]
    assert "<i>.png cannot be read" in found["unreadable"]["status"]
    assert found["unreadable"]["pixels"] == found["stroke"]["pixels"]
    assert set(found["paper"]["pixels"]) == {255} and "invert" in found["paper"]["status"]
