"""Features of images: extraction, cache and files."""
