"""The live runtime: feeds the core, performs its actions, recovers after a crash."""
