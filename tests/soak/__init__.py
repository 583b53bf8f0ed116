"""Long runs with kills and faults: no job and no lamport may be lost. `make soak`."""
