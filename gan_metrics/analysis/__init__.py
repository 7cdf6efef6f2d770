"""Analyses that explain a score: single images, classes, attribution, search, comparison."""
