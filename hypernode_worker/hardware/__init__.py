"""The machine behind `core.ports.Hardware`: GPUs by NVML, the rest by psutil and /proc."""
