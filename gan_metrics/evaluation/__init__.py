"""From sets of images to results: plan, extract, compute."""
