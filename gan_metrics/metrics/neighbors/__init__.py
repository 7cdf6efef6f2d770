"""Exact k-nearest neighbors."""
