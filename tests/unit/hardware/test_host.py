"""This machine's specs and load, and the parts that differ by machine, from samples."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from hypernode_worker.hardware.host import HostHardware, cpu_model, os_name
from hypernode_worker.hardware.nvidia import NvidiaGpus


async def test_this_machine(tmp_path: Path) -> None:
    hardware = HostHardware(tmp_path / "not" / "there" / "yet")
    specs = await hardware.specs()
    usage = await hardware.usage()
    await hardware.close()
    assert specs.cpu_model
    assert 1 <= specs.cpu_cores <= specs.cpu_threads
    assert specs.memory_bytes == usage.memory_bytes > 64 * 1024**2
    assert 0 < usage.memory_used_bytes < usage.memory_bytes
    assert 0 <= usage.disk_free_bytes <= usage.disk_bytes == specs.disk_bytes
    assert 0.0 <= usage.cpu <= 1.0
    assert specs.os.startswith("linux")
    assert specs.arch == platform.machine()
    assert len(specs.gpus) == len(usage.gpus)
    assert (hardware.no_gpu_reason is None) == bool(specs.gpus)


@pytest.mark.gpu
async def test_a_real_gpu(tmp_path: Path) -> None:
    hardware = HostHardware(tmp_path, gpus=NvidiaGpus())
    (gpu, *_) = (await hardware.specs()).gpus
    (usage, *_) = (await hardware.usage()).gpus
    await hardware.close()
    assert gpu.uuid.startswith("GPU-")
    assert gpu.uuid == usage.uuid
    assert gpu.memory_bytes == usage.memory_bytes > 0


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD  Ryzen 9 5950X\n\nprocessor\t: 1\nmodel name\t: other\n",
            "AMD Ryzen 9 5950X",
        ),
        ("processor\t: 0\nBogoMIPS\t: 38.4\n\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
    ],
)
def test_cpu_models(tmp_path: Path, text: str, model: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_model(tmp_path / "cpuinfo") == model


def test_a_cpu_without_a_name_has_its_architecture(tmp_path: Path) -> None:
    assert cpu_model(tmp_path / "missing")


def test_the_system_names_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"NAME": "Ubuntu", "VERSION_ID": "22.04"})
    assert os_name() == "linux Ubuntu 22.04"
