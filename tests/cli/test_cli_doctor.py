"""gpunet doctor: it answers on any machine."""

from __future__ import annotations

import json
import stat

import pytest

import gpunet as package
from gpunet.cli import doctor


@pytest.fixture
def examined(gpunet):
    """The findings of `gpunet doctor --json`."""

    def examine():
        outcome = gpunet("doctor", "--json")
        assert outcome.status == 0 and outcome.err == ""
        return json.loads(outcome.out)

    return examine


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a shell script in the place of nvidia-smi."""

    def install(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return install


def test_doctor_says_what_a_bug_report_needs(examined):
    findings = examined()
    assert list(findings) == list(doctor.QUESTIONS)
    assert findings["system"]["gpunet"] == package.__version__
    assert all("could not be found out" not in answer for answer in findings.values())


def test_doctor_prints_text(gpunet):
    outcome = gpunet("doctor")
    assert outcome.status == 0
    for title in doctor.QUESTIONS:
        assert title in outcome.out.splitlines()


def test_doctor_survives_whatever_breaks(gpunet, monkeypatch):
    def broken():
        raise RuntimeError("out of order")

    monkeypatch.setattr(doctor, "QUESTIONS", dict.fromkeys(doctor.QUESTIONS, broken))
    outcome = gpunet("doctor")
    assert outcome.status == 0
    assert outcome.out.count("RuntimeError: out of order") == len(doctor.QUESTIONS)


def test_doctor_names_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(doctor, "OPTIONAL_PACKAGES", ("numpy", "no-such-package"))
    found = doctor._optional_packages()
    assert found["numpy"][0].isdigit() and found["no-such-package"] == "not installed"


def test_doctor_tells_the_cached_file_and_variables(examined, tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_SOMETHING", "on")
    assert examined()["data"] == {"cache": str(tmp_path / "cache"), "reports' file": "not cached"}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "dataset_labels.npz").write_bytes(bytes(1234))
    findings = examined()
    assert findings["data"]["reports' file"] == "1,234 bytes"
    assert findings["environment variables"]["GPUNET_SOMETHING"] == "on"


def test_doctor_says_whether_the_kernels_can_run(examined, monkeypatch):
    monkeypatch.setattr("gpunet.ops.backend.why_no_cuda", lambda: "the driver reports no device")
    assert examined()["kernels"] == {"can run": "no", "why not": "the driver reports no device"}
    monkeypatch.setattr("gpunet.ops.backend.why_no_cuda", lambda: None)
    monkeypatch.setattr("gpunet.ops.backend.device_facts", lambda: {"device": "Tesla T4"})
    assert examined()["kernels"] == {"can run": "yes", "device": "Tesla T4"}


def test_doctor_tells_where_compiled_kernels_are(examined, tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "kept"))
    assert examined()["compiled kernels"] == {"cache": f"{tmp_path / 'kept'} (empty)"}
    (tmp_path / "kept" / "kernels-0").mkdir(parents=True)
    for name in ("one.kernel", "two.kernel", "no kernel"):
        (tmp_path / "kept" / "kernels-0" / name).write_bytes(bytes(400_000))
    assert examined()["compiled kernels"] == {"cache": f"{tmp_path / 'kept'} (2 kernels, 0.8 MB)"}


def test_doctor_lists_devices(examined, nvidia_smi):
    nvidia_smi("echo 'Tesla T4, 7.5, 15360 MiB, 580.65'; echo 'Tesla T4, 7.5, 15360 MiB, 580.65'")
    assert examined()["devices"] == {"nvidia": ["Tesla T4, 7.5, 15360 MiB, 580.65"] * 2}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'NVIDIA-SMI has failed because it could not communicate'; exit 9", "could not communicate"),
        ("exit 3", "exit status 3"),
        ("exec sleep 30", "did not answer"),
    ],
)
def test_doctor_tells_why_there_is_no_device(examined, nvidia_smi, tmp_path, monkeypatch, script, reason):
    monkeypatch.setattr(doctor, "SMI_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "DRIVER_FILE", tmp_path / "version")
    nvidia_smi(script)
    assert reason in examined()["devices"]["nvidia"]
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65\nGCC version\n")
    assert examined()["devices"]["driver"] == "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65"


def test_doctor_tells_that_there_is_no_nvidia_smi(examined, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "DRIVER_FILE", tmp_path / "version")
    assert "no nvidia-smi on the PATH" in examined()["devices"]["nvidia"]
