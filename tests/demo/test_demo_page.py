"""The demo page as text: complete in itself, with the very weights, and with nothing in it that a name could start."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from demo_cases import IMAGES, KINDS, model
from sentences import refused

from gpunet.demo import Examples, demo_page, write_demo_page
from gpunet.demo.page import content_hash
from gpunet.network import MLP
from gpunet.reporting.facts import DRAWN_WARNING

HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{model}}", "\x1b[31m\udcff")


class Tags(HTMLParser):
    """All start tags, and the content of scripts and styles by tag and type."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.raw, self._open = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open = (tag, dict(attributes).get("type")) if tag in ("script", "style") else None

    def handle_data(self, data):
        if self._open is not None:
            self.raw[self._open] = self.raw.get(self._open, "") + data

    def handle_endtag(self, tag):
        self._open = None


def saved(page):
    return json.loads(Tags(page).raw["script", "application/json"])


@pytest.mark.parametrize("kind", KINDS)
def test_demo_page_carries_the_network_bit_for_bit(kind):
    network = saved(demo_page(model(kind)))
    sizes, activation, _ = KINDS[kind]
    assert network["sizes"] == list(sizes) and network["activation"] == activation
    assert network["loss"] == model(kind).network.loss
    for layer, (weight, bias) in zip(network["layers"], model(kind).network.layers, strict=True):
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(layer["weight"]), "<f4"), weight[0].ravel())
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(layer["bias"]), "<f4"), bias[0])


def test_demo_page_carries_the_examples():
    page = demo_page(model("one hidden layer"), Examples(IMAGES[:3], np.array([4, 0, 9])))
    examples = saved(page)["examples"]
    assert [each["label"] for each in examples] == [4, 0, 9]
    for each, image in zip(examples, IMAGES[:3], strict=True):
        assert base64.b64decode(each["pixels"]) == image.tobytes()


def test_demo_page_refers_to_nothing_outside_and_forbids_it():
    page = demo_page(model("binary"))
    assert not re.search(r"https?:|url\(|@import|\{\{", page)
    tags = Tags(page)
    for tag, attributes in tags.tags:
        assert tag not in ("link", "iframe", "object", "base", "img")
        assert not {"src", "href", "style"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    policies = [a["content"] for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1 and "default-src 'none';" in policies[0] and "unsafe" not in policies[0]
    assert f"script-src {content_hash(tags.raw['script', None])};" in policies[0]
    assert f"style-src {content_hash(tags.raw['style', None])};" in policies[0]


def test_demo_page_every_identifier_that_the_script_asks_for_is_there():
    page = demo_page(model("binary"))
    asked = set(re.findall(r'byId\("([^"]+)"\)', page))
    assert len(asked) > 10
    assert asked <= {attributes.get("id") for _, attributes in Tags(page).tags}


def test_demo_page_escapes_what_users_name():
    page = demo_page(model("squared error", HOSTILE, task="<b>&", exp="{{model}}", data_source="/a/<i>.npz"))
    usual = demo_page(model("squared error"))
    assert [tag for tag, _ in Tags(page).tags] == [tag for tag, _ in Tags(usual).tags]
    assert "<b>" not in page and "<i>" not in page and "\x1b" not in page
    assert saved(page)["classNames"] == list(HOSTILE)
    page.encode()


def test_demo_page_says_what_the_network_is():
    page = demo_page(
        model("one hidden layer", task="multiclass", exp="exp1", data_source="mnist5k", test_accuracy=0.9125)
    )
    for words in ("multiclass exp1", "784-64-10 relu", "50,890 parameters", "MNIST digits", "91.2% of its test images"):
        assert words in page
    assert DRAWN_WARNING not in page
    assert DRAWN_WARNING in demo_page(model("binary", data_source="synthetic"))


def test_demo_page_is_for_images_only():
    small = model("binary")
    object.__setattr__(small, "network", MLP((20, 2)))
    with pytest.raises(ValueError, match="28 x 28"):
        demo_page(small)


def test_write_demo_page_replaces_its_own_and_nothing_else(tmp_path):
    page = demo_page(model("binary"))
    path = tmp_path / "new folder" / "demo.html"
    write_demo_page(path, page)
    write_demo_page(path, page + "<!-- again -->")
    assert path.read_text(encoding="utf-8").endswith("<!-- again -->")
    other = tmp_path / "report.html"
    other.write_text("<!DOCTYPE html><title>mine</title>")
    with refused("report.html", "not overwritten", "--out"):
        write_demo_page(other, page)
    assert "mine" in other.read_text()
    with refused("folder.html", "cannot be written"):
        (tmp_path / "folder.html").mkdir()
        write_demo_page(tmp_path / "folder.html", page)
