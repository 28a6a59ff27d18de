"""Decisions: a pure state machine of a whole centre. No I/O, no clock, no randomness; stdlib only."""
