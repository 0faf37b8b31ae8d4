"""Generate images from seeds, and write them to files."""
