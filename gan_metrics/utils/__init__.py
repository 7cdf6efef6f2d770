"""What every package uses, and nothing about images or metrics."""
