"""What the system and a container say of memory, each in the words of its files."""

from __future__ import annotations

import pytest

from gpunet.ops import NumpyOps, host_memory


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose files say this of its memory; None: it has no such file."""
    monkeypatch.setattr(host_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(host_memory, "_CGROUP", tmp_path)

    def say(meminfo=None, **container):
        for name, text in {"meminfo": meminfo, **{f"memory.{key}": text for key, text in container.items()}}.items():
            if text is not None:
                (tmp_path / name).write_text(text)

    return say


MEMINFO = "MemTotal:       4000 kB\nMemFree:         100 kB\nMemAvailable:   3000 kB\nHugePages_Total:       0\n"


def test_available_is_what_the_system_says(machine):
    machine(MEMINFO)
    assert host_memory.available_bytes() == 3000 * 1024


def test_available_is_no_more_than_a_container_may_take(machine):
    machine(MEMINFO, max="1000000\n", current="800000\n", stat="anon 500000\ninactive_file 300000\n")
    assert host_memory.available_bytes() == 500_000
    machine(current="2000000\n")
    assert host_memory.available_bytes() == 0


def test_available_heeds_no_limit_that_is_none(machine):
    machine(MEMINFO, max="max\n", current="800000\n")
    assert host_memory.available_bytes() == 3000 * 1024


def test_available_falls_back_where_nothing_is_said(machine, monkeypatch):
    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr("os.sysconf", {"SC_AVPHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}.get)
    assert host_memory.available_bytes() == 7 * 4096
    monkeypatch.setattr("os.sysconf", unknown)
    assert host_memory.available_bytes() == host_memory.UNKNOWN


def test_numpy_ops_tells_the_machines_memory(machine):
    machine(MEMINFO)
    assert NumpyOps().available_bytes() == 3000 * 1024
