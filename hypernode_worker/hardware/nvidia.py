"""NVIDIA GPUs by NVML. A machine without them, without a driver, or with one that was reloaded is no error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from hypernode_worker.core.ports import Gpu, GpuUsage

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Nvml(Protocol):
    """The part of pynvml that is used; every function raises NVMLError."""

    NVMLError: type[Exception]
    NVML_TEMPERATURE_GPU: int

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int: ...

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...

    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes: ...

    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...

    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...


def load_nvml() -> Nvml:
    """Imports pynvml (nvidia-ml-py)."""
    import pynvml

    return cast("Nvml", cast("object", pynvml))


class NvidiaGpus:
    """The NVIDIA GPUs of this machine. Calls block for some milliseconds; one at a time."""

    def __init__(self, load: Callable[[], Nvml] = load_nvml) -> None:
        self._load = load
        self._nvml: Nvml | None = None
        self._initialised = False
        self.absence: str | None = None
        """Why there are none, in words; None while there are some or nobody has looked."""

    def specs(self) -> tuple[Gpu, ...]:
        """What is there; empty when there is no GPU or no driver."""
        return self._each(_spec)

    def usage(self) -> tuple[GpuUsage, ...]:
        return self._each(_usage)

    def close(self) -> None:
        """Lets go of the driver. May be repeated; a later call opens it again."""
        if self._initialised and self._nvml is not None:
            self._initialised = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                _log.debug("NVML could not be shut down")

    def _each(self, read: Callable[[Nvml, int, Any], T]) -> tuple[T, ...]:
        """Reads each GPU. After a failure NVML is opened anew once: a reloaded driver makes old handles stale."""
        for attempt in (1, 2):
            nvml = self._open()
            if nvml is None:
                return ()
            try:
                handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
                found = tuple(read(nvml, index, handle) for index, handle in enumerate(handles))
            except nvml.NVMLError as error:
                self.absence = f"NVML failed ({error})"
                self.close()
                if attempt == 2:
                    _log.warning("GPUs can't be read: %s; look at `nvidia-smi`, or reload the driver", error)
            else:
                self.absence = None if found else "the driver sees no GPU"
                return found
        return ()

    def _open(self) -> Nvml | None:
        if self._nvml is None:
            try:
                self._nvml = self._load()
            except ImportError as error:
                self.absence = f"pynvml can't be imported ({error})"
                return None
        if not self._initialised:
            try:
                self._nvml.nvmlInit()
            except (self._nvml.NVMLError, OSError) as error:
                self.absence = f"no NVIDIA driver ({error})"
                return None
            self._initialised = True
        return self._nvml


def _spec(nvml: Nvml, index: int, handle: Any) -> Gpu:
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        vendor="nvidia",
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=_memory(nvml, handle)[1],
        driver=_text(nvml.nvmlSystemGetDriverVersion()),
    )


def _usage(nvml: Nvml, _index: int, handle: Any) -> GpuUsage:
    used, total = _memory(nvml, handle)
    return GpuUsage(
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        utilization=_optional(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, 0.0),
        memory_used_bytes=used,
        memory_bytes=total,
        temperature_c=_optional(
            nvml, lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)), None
        ),
    )


def _memory(nvml: Nvml, handle: Any) -> tuple[int, int]:
    """Used and total bytes; zeros where the GPU shares the host's memory and has none of its own to tell."""
    info = _optional(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle), None)
    return (int(info.used), int(info.total)) if info is not None else (0, 0)


def _optional(nvml: Nvml, read: Callable[[], T], otherwise: T) -> T:
    """A reading that not every GPU supports. A lost GPU shows in the readings that every one supports."""
    try:
        return read()
    except nvml.NVMLError as error:
        if type(error).__name__ != "NVMLError_NotSupported":
            raise
        return otherwise


def _text(value: str | bytes) -> str:
    """Older versions give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
