"""Ketline: a self-hosted quantum runtime with job, batch and session mode."""

__version__ = "0.1.0"
