"""Generators of images: loading them, calling them, and their images as a source."""
