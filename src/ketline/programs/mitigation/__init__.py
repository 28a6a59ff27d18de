"""Techniques of error suppression and mitigation: circuits in, units of work out, estimates back.

Nothing here knows a wire format. What a module gives is told at its top.
"""
