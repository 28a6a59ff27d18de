"""Where a job computes: the driver interface, the emulator, device snapshots and calibration."""
