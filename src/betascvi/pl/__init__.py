"""Plots: records in, matplotlib Axes out; saving and showing are the caller's."""

__all__: list[str] = []
