"""Seeds to image files."""
