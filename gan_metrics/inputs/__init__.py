"""Inputs: options of every command, readers, and the three kinds of sets."""
