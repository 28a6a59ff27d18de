"""The live runtime: feeds the core with what happens, does what it says, and recovers after a crash."""
