"""Images: sources, decoding to ``uint8`` RGB, resizing and preprocessing, labels."""
