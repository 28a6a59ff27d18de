"""The same core on a virtual clock: estimates, advice, simulation and pictures."""
