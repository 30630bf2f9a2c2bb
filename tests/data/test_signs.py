"""The reports' file: fetched, checked, cached; and what happens when any of that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sentences import refused

import gpunet
from gpunet.data import load_data, signs
from gpunet.data.signs import Patience, cached_path, load_signs

pytest.importorskip("filelock", reason="downloads are locked by filelock, which is not installed")

PACKAGE = Path(gpunet.__file__).parents[1]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(signs, "FIRST_PAUSE", 0)


@pytest.fixture
def from_drive(use_gdown, signs_file):
    """gdown delivers the file; the list of calls."""
    return use_gdown(lambda **arguments: shutil.copy(signs_file, arguments["output"]))


def assert_is_the_signs_file(dataset):
    assert dataset.source == "signs"
    assert dataset.class_names == tuple("0123456789")
    assert np.bincount(dataset.labels).tolist() == [500] * 10
    assert dataset.images.shape == (5000, 784)
    assert signs.DRIVE_ID in dataset.note and "licence" in dataset.note


def assert_nothing_is_left_over(cache, *expected):
    assert sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") == sorted(expected)


def test_load_signs_downloads_once_and_then_reads_its_cache(from_drive, own_cache):
    assert_is_the_signs_file(load_data("signs"))
    assert_is_the_signs_file(load_data("signs"))
    assert len(from_drive) == 1
    assert from_drive[0]["id"] == "1-0fhqH8tXKPb60C_b4aUHT7f-J4O6Ezq"
    assert from_drive[0]["quiet"] is True
    assert_nothing_is_left_over(own_cache, "dataset_labels.npz")


def test_load_signs_reads_its_cache_offline(from_drive, monkeypatch):
    load_data("signs")
    monkeypatch.setenv("GPUNET_OFFLINE", "1")
    assert_is_the_signs_file(load_data("signs"))
    assert_is_the_signs_file(load_data("auto"))


def test_load_signs_reads_a_cache_that_it_cannot_lock(signs_file, own_cache, monkeypatch):
    own_cache.mkdir()
    shutil.copy(signs_file, cached_path())
    monkeypatch.setattr(signs, "_locked", None)
    assert_is_the_signs_file(load_data("signs"))


def test_load_signs_obeys_offline(from_drive, own_cache, monkeypatch):
    monkeypatch.setenv("GPUNET_OFFLINE", "1")
    with refused("GPUNET_OFFLINE", "--data synthetic", "local copy"):
        load_data("signs")
    assert from_drive == []
    assert not own_cache.exists()


@pytest.mark.parametrize("value", ["", "0"])
def test_load_signs_takes_offline_0_for_online(from_drive, monkeypatch, value):
    monkeypatch.setenv("GPUNET_OFFLINE", value)
    assert_is_the_signs_file(load_data("signs"))


def test_load_signs_removes_what_a_killed_process_left(from_drive, own_cache):
    (own_cache / "signs-download-old").mkdir(parents=True)
    (own_cache / "signs-download-old" / "dataset_labels.npzab12cd34.part").write_bytes(b"half")
    load_data("signs")
    assert_nothing_is_left_over(own_cache, "dataset_labels.npz")


def test_load_signs_replaces_a_damaged_cache_and_sets_it_aside(from_drive, own_cache, signs_file):
    own_cache.mkdir()
    damaged = signs_file.read_bytes()[:5000]
    cached_path().write_bytes(damaged)
    assert_is_the_signs_file(load_data("signs"))
    assert len(from_drive) == 1
    assert cached_path().read_bytes() == signs_file.read_bytes()
    assert (own_cache / "dataset_labels.npz.damaged").read_bytes() == damaged


def test_load_signs_keeps_a_damaged_cache_when_the_download_fails(own_cache):
    own_cache.mkdir()
    cached_path().write_bytes(b"damaged")
    with refused("download failed"):
        load_data("signs")
    assert_nothing_is_left_over(own_cache, "dataset_labels.npz")


def test_load_signs_tries_again(use_gdown, signs_file):
    def third_time_lucky(output, **arguments):
        if len(calls) < 3:
            raise ConnectionError("reset by peer")
        shutil.copy(signs_file, output)

    calls = use_gdown(third_time_lucky)
    assert_is_the_signs_file(load_data("signs"))
    assert len(calls) == 3


def test_load_signs_gives_up_after_three_attempts(use_gdown, own_cache, capfd):
    def fail(**arguments):
        raise OSError("<HTTPSConnection object at 0x7f00>\nno route to host")

    calls = use_gdown(fail)
    with refused("OSError", "--data synthetic") as caught:
        load_data("signs")
    assert len(calls) == 3
    assert "0x7f00" not in str(caught.value)  # what differs from run to run stays out of the artifacts
    assert_nothing_is_left_over(own_cache)
    assert capfd.readouterr() == ("", "")


def deliver_html(output, **arguments):
    Path(output).write_text("\n<!DOCTYPE html><title>Google Drive - Quota exceeded</title>")


def deliver_nothing(output, **arguments):
    return None


def deliver_another_npz(output, **arguments):
    np.savez(output, dataset=np.zeros((20, 784), dtype=np.uint8), labels=np.arange(20) % 10)


def refuse_by_quota(output, **arguments):
    class FileURLRetrievalError(Exception):
        pass

    raise FileURLRetrievalError("Too many users have viewed or downloaded this file recently.\n\nTry later.")


@pytest.mark.parametrize(
    ("download", "word"),
    [
        (deliver_html, "web page"),
        (deliver_nothing, "not the reports' file"),
        (deliver_another_npz, "not the reports' file"),
        (refuse_by_quota, "refuses"),
    ],
)
def test_load_signs_caches_only_the_reports_file(use_gdown, own_cache, download, word):
    use_gdown(download)
    with refused(word, "--data synthetic"):
        load_data("signs")
    assert_nothing_is_left_over(own_cache)


def test_load_signs_refuses_a_truncated_download(use_gdown, own_cache, signs_file):
    use_gdown(lambda output, **arguments: Path(output).write_bytes(signs_file.read_bytes()[:-100]))
    with refused("not the reports' file"):
        load_data("signs")
    assert_nothing_is_left_over(own_cache)


def test_load_signs_tells_of_a_cache_folder_that_cannot_be_written(from_drive, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "file" / "cache"))
    with refused(tmp_path / "file" / "cache", "cannot be written", "GPUNET_DATA"):
        load_data("signs")


@pytest.mark.parametrize("package", ["gdown", "filelock"])
def test_load_signs_names_the_package_that_it_lacks(own_cache, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with refused(f"not installed: {package};", "--data synthetic"):
        load_data("signs")
    assert not own_cache.exists()


def test_load_signs_stops_waiting_when_nothing_arrives(use_gdown, own_cache):
    hang = threading.Event()
    use_gdown(lambda **arguments: hang.wait(60))
    started = time.monotonic()
    with refused("nothing arrived", "0.3 seconds"):
        load_signs(Patience(silence=0.3, total=60))
    assert time.monotonic() - started < 5
    assert_nothing_is_left_over(own_cache)
    hang.set()


def test_load_signs_waits_for_a_slow_download(use_gdown, signs_file):
    content = signs_file.read_bytes()

    def slow(output, **arguments):
        with open(output + "x7_part", "wb") as file:
            for place in range(0, len(content), len(content) // 15):
                time.sleep(0.1)
                file.write(content[place : place + len(content) // 15])
                file.flush()
        os.replace(output + "x7_part", output)

    use_gdown(slow)
    assert_is_the_signs_file(load_signs(Patience(silence=1, total=60)))


def test_load_signs_does_not_wait_for_ever_for_a_slow_download(use_gdown):
    stop = threading.Event()

    def endless(output, **arguments):
        with open(output, "wb") as file:
            while not stop.wait(0.05):
                file.write(b"x")
                file.flush()

    use_gdown(endless)
    started = time.monotonic()
    with refused("not ended after 0.5 seconds"):
        load_signs(Patience(silence=60, total=0.5))
    assert time.monotonic() - started < 5
    stop.set()


def test_auto_has_patience_for_less_than_ten_seconds_of_silence():
    pauses = 0.5 + 1  # FIRST_PAUSE and its double, as they are outside these tests
    assert signs.AUTO.silence + pauses + 2 * signs.POLL < 10


def test_load_signs_waits_for_another_process_that_downloads(use_gdown, own_cache, signs_file):
    from filelock import FileLock

    own_cache.mkdir()
    calls = use_gdown(lambda **arguments: None)
    folder = own_cache / "signs-download-other"
    folder.mkdir()

    def other_process():
        with FileLock(own_cache / "dataset_labels.lock"):
            locked.set()
            for size in range(15):
                (folder / "part").write_bytes(b"x" * size)
                time.sleep(0.1)
            shutil.copy(signs_file, folder / "complete")
            os.replace(folder / "complete", cached_path())

    locked = threading.Event()
    other = threading.Thread(target=other_process)
    other.start()
    locked.wait()
    assert_is_the_signs_file(load_signs(Patience(silence=1, total=60)))
    other.join()
    assert calls == []


def test_load_signs_does_not_wait_for_a_process_that_gets_nothing(own_cache):
    from filelock import FileLock

    own_cache.mkdir()
    with FileLock(own_cache / "dataset_labels.lock"):
        started = time.monotonic()
        with refused("another process"):
            load_signs(Patience(silence=0.3, total=60))
        assert time.monotonic() - started < 5


def run_python(code, tmp_path, gdown):
    """Start a Python process that finds this text as its module gdown."""
    (tmp_path / "modules").mkdir(exist_ok=True)
    (tmp_path / "modules" / "gdown.py").write_text(textwrap.dedent(gdown))
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path / "modules"), str(PACKAGE)]))
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_load_signs_downloads_once_in_two_processes_at_once(tmp_path, signs_file, own_cache):
    gdown = f"""
        import os, time

        def download(id, output, quiet):
            with open({str(tmp_path / "calls")!r}, "a") as calls:
                calls.write("called\\n")
            content = open({str(signs_file)!r}, "rb").read()
            with open(output, "wb") as file:
                for place in range(0, len(content), len(content) // 5):
                    file.write(content[place : place + len(content) // 5])
                    file.flush()
                    time.sleep(0.1)
        """
    code = "from gpunet.data import load_data; dataset = load_data('signs'); print(dataset.source, dataset.sha256())"
    processes = [run_python(code, tmp_path, gdown) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert answers[0] == answers[1]
    assert answers[0][0].startswith("signs ") and answers[0][1] == ""
    assert (tmp_path / "calls").read_text() == "called\n"
    assert_nothing_is_left_over(own_cache, "dataset_labels.npz")


def test_load_signs_lets_the_process_end_under_a_hanging_download(tmp_path):
    code = """
        from gpunet.data.signs import Patience, SignsUnavailable, load_signs

        try:
            load_signs(Patience(silence=0.3, total=60))
        except SignsUnavailable as unavailable:
            print(unavailable.reason)
        """
    started = time.monotonic()
    process = run_python(code, tmp_path, "import time\n\ndef download(**arguments):\n    time.sleep(600)\n")
    answer = process.communicate(timeout=60)
    assert process.returncode == 0
    assert answer == ("nothing arrived from Google Drive for 0.3 seconds\n", "")
    assert time.monotonic() - started < 30
