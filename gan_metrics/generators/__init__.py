"""Generators of images: load them, call them, and use their images as a source."""
