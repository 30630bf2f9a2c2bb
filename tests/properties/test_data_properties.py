"""What holds for every data set, file, name and option: it is read as it was meant, or refused in a sentence."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from gpunet import MLP, load_model, save_model
from gpunet.augmentation import Augmentation, image_keys, warp_table
from gpunet.cli.train import make_parser
from gpunet.data import read_image, read_images_for_prediction, stratified_split
from gpunet.data.arrays import dataset_from_arrays, to_classes, to_uint8
from gpunet.data.naming import sort_names
from gpunet.errors import InputError
from gpunet.ops import NumpyOps, Warp
from gpunet.reporting.artifacts import metrics_json
from gpunet.runs import RunConfig
from gpunet.sweep.space import FIELDS, draw, grid, read_space

seeds = st.integers(0, 2**32 - 1)
names = st.text(min_size=1, max_size=12).filter(str.strip)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def sentence_or(call):
    """What the call returns, or None where it refuses in one sentence; anything else that it raises fails."""
    try:
        return call()
    except InputError as error:
        text = str(error)
        assert text and "\n" not in text and not text.endswith(".") and "Traceback" not in text
        return None


# Splits and augmentation


@given(st.lists(st.integers(5, 60), min_size=2, max_size=6), st.floats(0.1, 0.5), st.sampled_from((0, 0.2, 0.4)), seeds)
def test_split_takes_every_row_once_and_of_each_class_its_share(counts, test, validation, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    split = sentence_or(lambda: stratified_split(labels, seed=seed, test=test, validation=validation))
    assume(split is not None)
    parts = [split.train, split.validation, split.test]
    assert (np.sort(np.concatenate(parts)) == np.arange(len(labels))).all()
    before = labels
    for part, rest in ((split.test, labels), (split.validation, np.delete(labels, split.test))):
        for label in range(len(counts)):
            due = len(part) * (rest == label).mean()
            assert abs((before[part] == label).sum() - due) < 1 + 1e-9


def augmented(images, augmentation, epoch):
    warp = Warp(
        np.array(warp_table(augmentation), np.int32),
        np.array(image_keys(images), np.uint32),
        np.arange(len(images), dtype=np.int32),
        math.isqrt(images.shape[1]),
        augmentation.seed,
    )
    out = np.zeros_like(images)
    NumpyOps().augment(images, warp, np.array([epoch], np.int32), out)
    return out


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 1000), seeds)
def test_augmentation_by_nothing_changes_nothing(side, count, epoch, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, side * side), dtype=np.uint8)
    assert (augmented(images, Augmentation(0, 0, 0, seed), epoch) == images).all()


@given(st.integers(1, 20), st.floats(0, 180), st.floats(0, 100), st.floats(0, 0.9), st.integers(0, 1000), seeds)
def test_augmentation_makes_no_pixel_that_lies_outside_of_the_images_own(side, rotation, shift, scale, epoch, seed):
    images = np.random.default_rng(seed).integers(20, 200, (3, side * side), dtype=np.uint8)
    changed = augmented(images, Augmentation(rotation, shift, scale, seed), epoch)
    assert (changed.min(axis=1) >= images.min(axis=1)).all() and (changed.max(axis=1) <= images.max(axis=1)).all()


# Arrays and images


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=3, max_side=5)))
def test_pixels_of_any_type_are_read_or_refused(values):
    pixels = sentence_or(lambda: to_uint8(values, "the array"))
    if pixels is not None:
        factor = 255 if values.dtype.kind == "f" and values.max() <= 1 else 1
        assert pixels.dtype == np.uint8 and pixels.shape == values.shape
        assert (np.abs(pixels - values.astype(np.float64) * factor) <= 0.5 * (factor != 1) + 0.13).all()


@given(st.lists(names | st.integers(-(10**6), 10**6).map(str), min_size=2, max_size=20))
def test_labels_come_back_from_their_classes(labels):
    assume(all("\x00" not in name for name in labels))  # NumPy drops these at the end of a string
    assume(len(set(labels)) > 1)
    indices, class_names = to_classes(np.array(labels), "the array")
    assert [class_names[index] for index in indices] == labels
    assert list(class_names) == sort_names(reversed(class_names)) and len(set(class_names)) == len(class_names)


@given(st.lists(st.text(max_size=6) | st.integers(0, 10**30).map(str), max_size=12))
def test_names_have_one_order(given_names):
    once = sort_names(given_names)
    assert Counter(once) == Counter(given_names) and sort_names(once[::-1]) == once


@given(
    arrays.arrays(st.sampled_from(("u1", "<i4", ">f8", "f2", "?", "U2")), arrays.array_shapes(max_dims=4, max_side=30))
)
def test_any_array_file_is_read_for_prediction_or_refused(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "any.npy"
    np.save(path, values)
    found = sentence_or(lambda: read_images_for_prediction(path))
    if found is not None:
        assert found[0].dtype == np.uint8 and found[0].shape == (len(found[0]), 784)


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(("1", "L", "P", "RGB", "RGBA", "LA", "I;16", "I", "F")),
    seeds,
)
def test_image_of_any_size_and_mode_becomes_28_by_28(tmp_path_factory, width, height, mode, seed):
    path = tmp_path_factory.getbasetemp() / "any.tif"
    grey = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))
    image = Image.fromarray(np.asarray(grey, np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    image.save(path)
    pixels, resized_from = read_image(path)
    assert pixels.dtype == np.uint8 and pixels.shape == (784,)
    assert resized_from == (None if (width, height) == (28, 28) else (width, height))


def test_large_image_is_the_same_by_strips(tmp_path, monkeypatch):
    """Grey is made of a few rows at a time, and of all kinds as it would be of the whole."""
    rng = np.random.default_rng(0)
    kinds = {
        "alpha": Image.fromarray(rng.integers(0, 256, (61, 50, 4), dtype=np.uint8)),
        "palette": Image.fromarray(rng.integers(0, 256, (61, 50, 3), dtype=np.uint8)).convert("P"),
        "deep": Image.fromarray(rng.integers(0, 65536, (61, 50)).astype(np.uint16)),
        "floats": Image.fromarray(rng.normal(0, 1000, (61, 50)).astype(np.float32)),
        "integers": Image.fromarray(rng.integers(-1000, 10**6, (61, 50)).astype(np.int32)),
    }
    for name, image in kinds.items():
        path = tmp_path / f"{name}.tif"
        image.save(path)
        whole = read_image(path)[0]
        with monkeypatch.context() as patched:
            patched.setattr("gpunet.data.images.PIXELS_AT_A_TIME", 170)  # three rows
            np.testing.assert_array_equal(read_image(path)[0], whole, err_msg=name)


@given(
    st.integers(0, 4).flatmap(lambda n: st.lists(st.integers(0, 800), min_size=n, max_size=n)),
    st.sampled_from(("u1", "f4", "i8")),
    st.integers(0, 12),
)
def test_data_set_of_any_shape_is_made_or_refused(shape, kind, count):
    images, labels = np.broadcast_to(np.zeros((), kind), shape), np.arange(count) % 3
    dataset = sentence_or(lambda: dataset_from_arrays(images, labels, where="a file", source="a file", note="none"))
    assert dataset is None or dataset.images.shape == (count, 784)


# Models and metrics


@given(st.lists(names, min_size=2, max_size=5), st.dictionaries(names, json_values, max_size=4), seeds)
def test_model_comes_back_with_any_class_names_and_facts(tmp_path_factory, class_names, about, seed):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    network = MLP((3, len(class_names)), seed=seed)
    about = {f"about {name}": value for name, value in about.items()}
    save_model(path, network, tuple(class_names), **about)
    model = load_model(path)
    assert model.class_names == tuple(class_names)
    assert (model.network.parameters == network.parameters).all()
    assert json.dumps(model.about, sort_keys=True) == json.dumps(about, sort_keys=True)


@given(json_values)
def test_metrics_are_strict_json(value):
    def without_nan(each):
        if isinstance(each, dict):
            return {name: without_nan(item) for name, item in each.items()}
        if isinstance(each, list):
            return [without_nan(item) for item in each]
        return None if isinstance(each, float) and not math.isfinite(each) else each

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = metrics_json({"value": value})
    assert json.loads(text, parse_constant=refuse) == {"value": without_nan(value)}


# Options


PLAUSIBLE = ("0", "1", "-1", "0.5", "nan", "inf", "1e999", "relu", "adam", "4", "signs", "10**9", "", " 3 ", "٣")
printable = st.characters(exclude_categories=("C", "Zl", "Zp"))  # of others the command line makes spaces
option_values = st.sampled_from(PLAUSIBLE) | st.text(printable, max_size=6)
OPTIONS = ("--task", "--exp", "--data", "--limit", "--seed", "--epochs", "--batch-size", "--lr", "--hidden")
OPTIONS += ("--dropout", "--weight-decay", "--activation", "--backend", "--classes", "--augment")


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), st.lists(option_values, min_size=1, max_size=3)), max_size=4))
def test_train_options_are_read_or_refused(pairs):
    argv = [text for option, values in pairs for text in (option, *values)]
    sentence_or(lambda: make_parser("gpunet train").parse_args(argv))


numbers = st.integers(-(2**33), 2**33) | st.floats()


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "task": st.sampled_from(("multiclass", "binary", "")),
            "exp": st.sampled_from(("base", "exp2", "numpy", "?")),
            "limit": st.integers(-1, 2**33),
            "seed": st.integers(-1, 2**33),
            "epochs": st.integers(-1, 2**33),
            "batch_size": st.integers(-1, 2**33),
            "learning_rate": numbers,
            "weight_decay": numbers,
            "dropout": numbers,
            "hidden": st.lists(st.integers(-1, 99), max_size=3).map(tuple),
            "activation": st.sampled_from(("relu", "ReLU", "")),
            "loss": st.sampled_from(("squared_error", "hinge")),
            "optimizer": st.sampled_from(("adam", "sgd", "lion")),
            "init": st.sampled_from(("he", "zeros")),
            "shuffle": st.sampled_from(("never", "always")),
        },
    )
)
def test_configuration_is_checked_and_comes_back_from_json(options):
    config = sentence_or(lambda: RunConfig.from_experiment(**options))
    if config is not None:
        assert RunConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


definitions = st.builds("{}{}{}".format, st.sampled_from((*FIELDS, "lr", "?")), st.sampled_from("=:"), option_values)


@given(st.lists(definitions | st.text(printable, max_size=20), min_size=1, max_size=3), st.booleans())
def test_sweep_definitions_are_read_or_refused(texts, is_grid):
    space = sentence_or(lambda: read_space(texts))
    if space is not None:
        cells = sentence_or(lambda: grid(space) if is_grid else draw(space, 3, seed=0))
        assert cells is None or all(cell.keys() == space.keys() for cell in cells)


def test_a_sentence_of_several_lines_is_noticed():
    def speak():
        raise InputError("one\ntwo")

    with pytest.raises(AssertionError):
        sentence_or(speak)
