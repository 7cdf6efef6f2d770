"""Feature spaces, decoding and preprocessing, and the protocols of published tools."""
