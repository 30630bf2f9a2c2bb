"""How the tests hold what an InputError says."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from gpunet.errors import InputError


@contextmanager
def refused(*words):
    """The block raises InputError in one sentence that holds all these words."""
    with pytest.raises(InputError) as caught:
        yield caught
    sentence = str(caught.value)
    assert "\n" not in sentence and "Traceback" not in sentence
    assert not sentence.endswith(".")
    for word in words:
        assert str(word) in sentence, f"{word!r} is not in {sentence!r}"
