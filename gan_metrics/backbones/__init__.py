"""Networks that turn images into features, cut at a layer."""
