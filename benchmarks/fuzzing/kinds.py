"""Every kind of file that gpunet reads: sound ones, and how they are read.

What reads a file raises `InputError`, or returns what it made of it: "loaded" (and has been looked at), or "made again"
where a cache or a sweep does without a damaged file. Anything else that it does is a finding.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzzing import crafted
from fuzzing.mutations import damaged, damaged_json, damaged_safetensors, occupy
from gpunet import MLP, load_data, save_model
from gpunet.data import read_images_for_prediction

LOADED, MADE_AGAIN = "loaded", "made again"
CLASSES = tuple("0123456789")
FOREIGN = (".dds", ".pcx", ".sgi", ".im")  # formats that Pillow reads and gpunet does not


@dataclass(frozen=True)
class Kind:
    """files: {path: content} of a sound folder. targets: those of them that are damaged, one at a time. crafted: makers
    of what a target may be replaced by. aware: damages that keep a file's outer form. read: of the folder and the
    target, what it came to."""

    files: dict[str, bytes]
    targets: tuple[str, ...]
    read: Callable[[Path, str], str]
    crafted: tuple[crafted.Crafted, ...] = ()
    aware: tuple[Callable[[Random, bytes], bytes], ...] = ()

    def lay(self, folder: Path) -> None:
        """Put the sound files there, and take away all others."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def damage(self, folder: Path, rng: Random) -> tuple[str, str]:
        """Damage one of the files. Returns its path, and what was done to it."""
        target = rng.choice(self.targets)
        return target, self._damage(folder / target, rng)

    def _damage(self, path: Path, rng: Random) -> str:
        chance, content = rng.random(), path.read_bytes()
        if chance < 0.05:
            return occupy(rng, path)
        if chance < 0.2 and self.crafted:
            path.write_bytes(rng.choice(self.crafted)(rng))
            return "crafted"
        if chance < 0.6 and self.aware:
            path.write_bytes(rng.choice(self.aware)(rng, content))
            return "damaged within its form"
        path.write_bytes(damaged(rng, content, tuple(self.files.values())))
        return "damaged"


# Data sets


def _images(count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (count, 784)) * (np.arange(784) % 28 > 4)).astype(np.uint8)


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _stored_npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _check_dataset(dataset: Any) -> str:
    images, labels = dataset.images, dataset.labels
    assert images.dtype == np.uint8 and images.ndim == 2 and images.shape[1] == 784 and len(images) == len(labels) > 0
    assert labels.dtype == np.int64 and labels.min() >= 0 and labels.max() < len(dataset.class_names)
    assert len(set(dataset.class_names)) == len(dataset.class_names) >= 2
    dataset.sha256()
    return LOADED


def _read_data(folder: Path, target: str) -> str:
    return _check_dataset(load_data(str(folder / target)))


def arrays(scratch: Path, marker: Path) -> Kind:
    """.npz data sets, as `--data` takes them."""
    images, labels = _images(), np.array(list("0123456789") * 2)
    files = {
        "packed.npz": _npz(dataset=images, labels=labels),
        "stored.npz": _stored_npz(dataset=images.reshape(-1, 28, 28), labels=labels.astype(bytes)),
        "floats.npz": _stored_npz(dataset=images / 255, labels=np.arange(20) % 10),
    }
    harm = (*crafted.planted_arrays(marker), crafted.odd_archive, crafted.odd_archive, crafted.zip_bomb)
    return Kind(files, tuple(files), _read_data, harm)


def cache(scratch: Path, marker: Path) -> Kind:
    """A cached data set, which is made again where it cannot be read."""
    from gpunet.data.cache import cached_arrays

    def read(folder: Path, target: str) -> str:
        os.environ["GPUNET_DATA"] = str(folder)
        made = []

        def make() -> tuple[np.ndarray, np.ndarray]:
            made.append(True)
            return _images(), np.arange(20) % 10

        images, labels = cached_arrays(target, make)
        assert images.shape[1] == 784 and len(images) == len(labels)
        return MADE_AGAIN if made else LOADED

    files = {"drawn.npz": _npz(dataset=_images(), labels=np.arange(20) % 10)}
    return Kind(files, tuple(files), read, (*crafted.planted_arrays(marker), crafted.odd_archive))


def npy_folder(scratch: Path, marker: Path) -> Kind:
    """A folder with images.npy and labels.npy."""
    files = {}
    for name, images in (("bytes", _images()), ("floats", (_images() / 255).astype(np.float32).reshape(-1, 28, 28))):
        files[f"{name}/images.npy"] = crafted.npy(images)
        files[f"{name}/labels.npy"] = crafted.npy(np.array(list("0123456789") * 2))

    def read(folder: Path, target: str) -> str:
        dataset = load_data(str((folder / target).parent))
        images = dataset.images
        assert images.dtype.kind in "uf" and images.shape == (len(dataset.labels), 784)
        assert images.dtype == np.uint8 or images.min() >= 0 and images.max() <= 1
        return LOADED

    return Kind(files, tuple(files), read, (crafted.odd_array, *crafted.planted_arrays(marker)[-2:]))


# Images


def _pictures() -> dict[str, bytes]:
    from PIL import Image

    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8))
    colour = Image.merge("RGBA", [grey] * 4)
    deep = Image.fromarray(np.arange(784, dtype=np.uint16).reshape(28, 28) * 80)
    floats = Image.fromarray(np.linspace(0, 1, 784, dtype=np.float32).reshape(28, 28))
    exif = Image.Exif()
    exif[0x0112] = 6
    forms: dict[str, tuple[Any, dict[str, Any]]] = {
        "grey.png": (grey, {}),
        "alpha.png": (colour, {}),
        "deep.png": (deep, {}),
        "palette.png": (colour.convert("RGB").convert("P"), {"transparency": 3}),
        "turned.jpg": (colour.convert("RGB"), {"exif": exif}),
        "cmyk.jpg": (colour.convert("CMYK"), {}),
        "frames.gif": (grey, {"save_all": True, "append_images": [grey.rotate(90, expand=False)]}),
        "plain.bmp": (grey, {}),
        "packed.tif": (grey, {"compression": "tiff_lzw"}),
        "jpeg.tif": (colour.convert("RGB"), {"compression": "jpeg"}),
        "floats.tif": (floats, {}),
        "grey.pgm": (grey, {}),
        "plain.webp": (colour, {}),
        "wavelets.jp2": (grey, {}),
        "plain.tga": (colour, {}),
        "icon.ico": (colour, {}),
        "sheet.dds": (colour, {}),
        "sheet.pcx": (grey, {}),
        "sheet.sgi": (grey, {}),
        "sheet.im": (grey, {}),
        "still.avif": (colour, {}),
    }
    files = {}
    for name, (image, options) in forms.items():
        file, file_format = io.BytesIO(), Image.registered_extensions().get(Path(name).suffix)
        if file_format in Image.SAVE:  # not every Pillow knows all of them
            image.save(file, file_format, **options)
            files[name] = file.getvalue()
    return files


def images(scratch: Path, marker: Path) -> Kind:
    """Images and arrays that a prediction is asked for."""
    files = _pictures()
    files |= {
        "one.npy": crafted.npy(_images(1)),
        "some.npy": crafted.npy(_images(3).reshape(3, 28, 28) / 255),
        "large.npy": crafted.npy(np.full((50, 40), 7)),
        "some.npz": _npz(dataset=_images(3)),
    }

    def read(folder: Path, target: str) -> str:
        pixels, notes = read_images_for_prediction(folder / target)
        assert pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == 784 and len(pixels) > 0
        assert all("\n" not in note for note in notes)
        return LOADED

    harm = (
        *crafted.planted_arrays(marker),
        crafted.odd_array,
        crafted.odd_array,
        crafted.odd_archive,
        *crafted.planted_program(marker),
        crafted.picture_bomb,
        crafted.promising_picture,
        crafted.promising_picture,
    )
    return Kind(files, tuple(name for name in files if not name.endswith(FOREIGN)), read, harm)


def folder(scratch: Path, marker: Path) -> Kind:
    """A folder with a sub-folder of images for each class."""
    pictures = _pictures()
    names = ("grey.png", "turned.jpg", "frames.gif", "packed.tif")
    files = {f"{label}/{name}": pictures[name] for label in ("hand", "no hand") for name in names}

    def read(folder: Path, target: str) -> str:
        return _check_dataset(load_data(str(folder)))

    harm = (crafted.promising_picture, crafted.picture_bomb, *crafted.planted_program(marker))
    return Kind(files, tuple(files), read, harm)


# Models


def _model_files(scratch: Path) -> dict[str, bytes]:
    from gpunet import torch_layout

    files = {}
    for name, network, class_names in (
        ("deep", MLP((784, 4, 10), "tanh", seed=1), CLASSES),
        ("binary", MLP((784, 1), seed=2), ("4", "9")),
    ):
        path = scratch / f"{name}.safetensors"
        about = {"task": "multiclass", "exp": "exp2", "data_source": "synthetic", "test_accuracy": 0.5}
        save_model(path, network, class_names, **about)
        files[f"{name}/model.safetensors"] = path.read_bytes()
        files[f"{name}-1/model.safetensors"] = _format_1(network, class_names, torch_layout)
    return files


def _format_1(network: MLP, class_names: tuple[str, ...], torch_layout: Any) -> bytes:
    from safetensors.numpy import save

    tensors = {
        f"{kind}{layer + 1}": np.ascontiguousarray(array[0])
        for layer, views in enumerate(network.layers)
        for kind, array in zip(("weight", "bias"), views, strict=True)
    }
    header = {
        "format": "gpunet",
        "format_version": 1,
        "sizes": network.sizes,
        "activation": network.activation,
        "loss": network.loss,
        "class_names": class_names,
        "pixel_scale": "1/255",
    }
    return save(tensors, {"gpunet": json.dumps(header)})


def models(scratch: Path, marker: Path) -> Kind:
    """Models of both formats, from which is predicted and a page is made."""
    from gpunet.demo import demo_page
    from gpunet.prediction import load_digit_model, predict_images

    files = _model_files(scratch)

    def read(folder: Path, target: str) -> str:
        path = folder / target
        model = load_digit_model(path.parent if path.is_file() and len(target) % 2 else path)
        predictions = predict_images(model, _images(2))
        assert all(np.isfinite(each.probabilities or (0,)).all() for each in predictions)
        assert "\ufffe" not in demo_page(model).encode().decode()
        save_model(folder / "again.safetensors", model.network, model.class_names, **model.about)
        return LOADED

    harm = (crafted.odd_safetensors, *crafted.planted_arrays(marker)[-1:])
    return Kind(files, tuple(files), read, harm, (damaged_safetensors,))


def torch_weights(scratch: Path, marker: Path) -> Kind:
    """PyTorch's weights, as `gpunet import` takes them."""
    from safetensors.numpy import save

    from gpunet.exchange.from_torch import import_torch

    rng = np.random.default_rng(0)
    files = {}
    for name, kind in (("single", np.float32), ("double", np.float64), ("half", np.float16)):
        shapes = {"net.0.weight": (4, 784), "net.0.bias": (4,), "net.2.weight": (10, 4), "net.2.bias": (10,)}
        tensors = {key: rng.standard_normal(shape).astype(kind) for key, shape in shapes.items()}
        files[f"{name}.safetensors"] = save(tensors)

    def read(folder: Path, target: str) -> str:
        model = import_torch(folder / target, "relu", mean=0.1, std=0.3)
        if model.network.sizes[0] == 784:
            model.network.predict(_images(2))
        save_model(folder / "again.safetensors", model.network, model.class_names, **model.about)
        return LOADED

    harm = (crafted.odd_safetensors, *crafted.planted_arrays(marker)[-1:])
    return Kind(files, tuple(files), read, harm, (damaged_safetensors,))


# What runs and sweeps leave


def metrics(scratch: Path, marker: Path) -> Kind:
    """A run's metrics.json, by which a demo finds the run's test images again."""
    from gpunet.demo import run_examples
    from gpunet.prediction import load_digit_model

    path = scratch / "run.npz"
    path.write_bytes(_npz(dataset=_images(200), labels=np.arange(200) % 10))
    dataset = load_data(str(path))
    facts = {
        "config": {"task": "multiclass", "exp": "exp2", "limit": None, "classes": None, "seed": 3},
        "data": {"source": str(path), "sha256": dataset.sha256()},
        "kept": {"seed": 4},
    }
    save_model(scratch / "run.safetensors", MLP((784, 10), seed=1), CLASSES)
    files = {
        "model.safetensors": (scratch / "run.safetensors").read_bytes(),
        "metrics.json": json.dumps(facts).encode(),
    }

    def read(folder: Path, target: str) -> str:
        examples = run_examples(load_digit_model(folder), folder, 12)
        assert len(examples.images) == len(examples.labels) <= 12
        return LOADED

    return Kind(files, ("metrics.json",), read, (crafted.odd_json,), (lambda rng, text: damaged_json(rng, text),))


def sweeps(scratch: Path, marker: Path) -> Kind:
    """A sweep's folder, in which the same command goes on."""
    from gpunet.runs import RunConfig
    from gpunet.sweep.folder import SweepFolder
    from gpunet.sweep.groups import FIGURES
    from gpunet.sweep.plan import make_plan
    from gpunet.sweep.ranking import rank, within_one_sd

    plan = make_plan(
        RunConfig.from_experiment(data="x.npz"), 2, [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
    )
    records = {
        cell: {"diverged": [False, cell == 2], **{name: [0.5, None if cell == 2 else 0.25] for name in FIGURES}}
        for cell in range(3)
    }
    sound = scratch / "sweep"
    kept = SweepFolder(sound, plan, "ab" * 32, 1)
    kept.keep({0: records[0], 1: records[1]})
    kept.keep({2: records[2]})
    kept.keep_winner({"cell": 0, "seed": [0, 1], "accuracy": [0.5, None], "loss": [0.1, None]})
    files = {str(path.relative_to(sound)): path.read_bytes() for path in sound.rglob("*.json")}

    def read(folder: Path, target: str) -> str:
        found = SweepFolder(folder, plan, "ab" * 32, 1)
        assert found.blas_threads is None or found.blas_threads >= 1
        known, winner = found.records(), found.winner()
        ranking = rank(known)
        if ranking:
            within_one_sd(ranking)
        for record in known.values():
            assert all(value is None or np.isfinite(value) for name in FIGURES for value in record[name])
        if winner is not None:
            assert winner["cell"] in range(3) and len(winner["accuracy"]) == len(winner["loss"]) == 2
            np.array([value for value in winner["accuracy"] if value is not None], float)
        return LOADED if len(known) == 3 and winner is not None else MADE_AGAIN

    return Kind(files, tuple(files), read, (crafted.odd_json,), (lambda rng, text: damaged_json(rng, text),))


# Compiled kernels


def kernels(scratch: Path, marker: Path) -> Kind:
    """Compiled loops, kept as compiled kernels are; one that cannot be read is compiled again."""
    from numba.core.registry import cpu_target

    from gpunet.kernels import kernel_cache
    from gpunet.ops.jit_compile import loop

    def doubled(x: Any) -> None:
        for index in range(len(x)):
            x[index] *= 2

    def counted(x: Any) -> None:
        for index in range(len(x)):
            x[index] += 1

    os.environ["GPUNET_CACHE"] = str(scratch / "kernels")
    kernel_cache._folder.cache_clear()
    for function in (doubled, counted):
        loop(function)(np.ones(3))
    signature = _signature(loop, doubled)
    within = Path(kernel_cache._folder()).parent
    files = {str(path.relative_to(within)): path.read_bytes() for path in within.rglob("*.kernel")}
    (target,) = (name for name in files if "doubled" in name)

    def read(folder: Path, target: str) -> str:
        os.environ["GPUNET_CACHE"] = str(folder)
        kernel_cache._folder.cache_clear()
        dispatcher = loop(doubled)
        found = dispatcher._cache.load_overload(signature, cpu_target.target_context)
        if found is None:
            return MADE_AGAIN
        dispatcher.add_overload(found)
        dispatcher.disable_compile()
        x = np.arange(3.0)
        dispatcher(x)
        assert x.tolist() == [0, 2, 4], f"another kernel was loaded: {x}"
        return LOADED

    return Kind(files, (target,), read, crafted.planted_kernels(marker))


def _signature(loop: Callable[..., Any], function: Callable[..., None]) -> Any:
    dispatcher = loop(function)
    dispatcher(np.ones(3))
    return dispatcher.signatures[0]


KINDS: dict[str, Callable[[Path, Path], Kind]] = {
    "arrays": arrays,
    "npy": npy_folder,
    "cache": cache,
    "images": images,
    "folder": folder,
    "models": models,
    "torch": torch_weights,
    "metrics": metrics,
    "sweeps": sweeps,
    "kernels": kernels,
}
