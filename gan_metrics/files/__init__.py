"""Files: atomic writing, downloads, temporary files, and the formats of arrays."""
