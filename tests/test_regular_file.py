"""Files read whole: what is no file, or too large, is refused before anything is read."""

from __future__ import annotations

import errno
import os

import pytest

from gpunet.regular_file import read_regular


def test_file_is_read_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    os.symlink("file", tmp_path / "link")
    assert read_regular(tmp_path / "file", 7) == read_regular(str(tmp_path / "link"), 100) == b"content"


def test_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 1,000 bytes") as caught:
        read_regular(tmp_path / "hole", 1000)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular"):
        read_regular(tmp_path / "pipe", 1000)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no endless device here")
def test_device_without_an_end_is_not_read():
    with pytest.raises(OSError, match="regular"):
        read_regular("/dev/zero", 1000)


def test_folder_and_missing_file_are_refused_as_they_are_elsewhere(tmp_path):
    with pytest.raises(OSError):
        read_regular(tmp_path, 1000)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 1000)
