"""GPUs by NVML, against a fake driver: none, some, old bytes, readings that are missing, a driver that was reloaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hypernode_worker.hardware.nvidia import NvidiaGpus, Nvml

GIB = 1024**3


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


class FakeNvml:
    """A driver with GPUs; handles of an earlier initialisation are stale."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, gpus: int = 2, *, driver: bool = True, as_bytes: bool = False) -> None:
        self.gpus = gpus
        self.driver = driver
        self.as_bytes = as_bytes
        self.generation = 0
        self.opened = 0
        self.reloaded = False
        self.unsupported: set[str] = set()

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.generation += 1
        self.opened += 1
        self.reloaded = False

    def nvmlShutdown(self) -> None:
        if self.opened == 0:
            raise NVMLError("Uninitialized")
        self.opened -= 1

    def _alive(self, name: str = "") -> None:
        if self.reloaded or not self.driver:
            raise NVMLError("GPU is lost")
        if name in self.unsupported:
            raise NVMLError_NotSupported("Not Supported")

    def nvmlDeviceGetCount(self) -> int:
        self._alive()
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self._alive()
        return index

    def _text(self, text: str) -> str | bytes:
        return text.encode() if self.as_bytes else text

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        self._alive()
        return self._text(f"GPU-{handle}")

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return self._text("NVIDIA RTX 4090")

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        return self._text("550.54")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        self._alive("memory")
        return SimpleNamespace(used=handle * GIB, total=24 * GIB)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self._alive("utilization")
        return SimpleNamespace(gpu=50, memory=1)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        self._alive("temperature")
        return 61


def gpus_of(fake: FakeNvml) -> NvidiaGpus:
    return NvidiaGpus(lambda: cast("Nvml", fake))


@pytest.mark.parametrize("as_bytes", [False, True])
def test_specs(as_bytes: bool) -> None:
    found = gpus_of(FakeNvml(as_bytes=as_bytes)).specs()
    assert [(gpu.index, gpu.uuid, gpu.name, gpu.vendor, gpu.driver) for gpu in found] == [
        (0, "GPU-0", "NVIDIA RTX 4090", "nvidia", "550.54"),
        (1, "GPU-1", "NVIDIA RTX 4090", "nvidia", "550.54"),
    ]
    assert found[0].memory_bytes == 24 * GIB


def test_usage() -> None:
    (_, second) = gpus_of(FakeNvml()).usage()
    assert (second.utilization, second.memory_used_bytes, second.memory_bytes, second.temperature_c) == (
        0.5,
        GIB,
        24 * GIB,
        61.0,
    )


def test_no_driver_is_no_error_and_is_looked_for_again() -> None:
    fake = FakeNvml(driver=False)
    gpus = gpus_of(fake)
    assert gpus.specs() == ()
    assert "Driver Not Loaded" in (gpus.absence or "")
    fake.driver = True
    assert len(gpus.specs()) == 2
    assert gpus.absence is None


def test_no_pynvml_is_no_error() -> None:
    def missing() -> Nvml:
        raise ImportError("No module named 'pynvml'")

    gpus = NvidiaGpus(missing)
    assert gpus.usage() == ()
    assert "pynvml" in (gpus.absence or "")


def test_a_driver_without_a_gpu_says_so() -> None:
    gpus = gpus_of(FakeNvml(gpus=0))
    assert gpus.specs() == ()
    assert gpus.absence == "the driver sees no GPU"


def test_a_reloaded_driver_is_opened_anew() -> None:
    fake = FakeNvml()
    gpus = gpus_of(fake)
    assert len(gpus.usage()) == 2
    fake.reloaded = True
    assert len(gpus.usage()) == 2
    assert (fake.generation, fake.opened) == (2, 1)


def test_a_driver_that_went_away_leaves_no_gpu_and_no_crash() -> None:
    fake = FakeNvml()
    gpus = gpus_of(fake)
    gpus.specs()
    fake.driver = False
    assert gpus.usage() == ()
    assert gpus.absence
    gpus.close()
    gpus.close()


def test_readings_that_a_gpu_does_not_support() -> None:
    fake = FakeNvml(gpus=1)
    fake.unsupported = {"utilization", "temperature", "memory"}
    (usage,) = gpus_of(fake).usage()
    assert (usage.utilization, usage.temperature_c, usage.memory_bytes) == (0.0, None, 0)
