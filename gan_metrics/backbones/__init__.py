"""Backbones: networks that turn images into features, cut at a layer."""
