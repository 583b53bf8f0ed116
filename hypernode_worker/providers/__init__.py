"""Container runtimes behind `core.ports.ContainerProvider`: Docker, bubblewrap processes, and a mock.

This file imports nothing, so that the supervisor of a process run starts fast; `factory.open_provider` opens one.
"""
