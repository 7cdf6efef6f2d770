"""Feature spaces, ways of decoding and resizing, and the protocols of published tools."""
