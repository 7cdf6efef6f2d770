"""What explains a score: single images, classes, attribution, nearest images, comparison."""
