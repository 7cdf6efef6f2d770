"""What users pass as a set of images, and the options of every command."""
