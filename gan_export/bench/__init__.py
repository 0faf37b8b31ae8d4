"""A benchmark that can't flatter: fresh processes, turns in blocks, raw samples kept, no speed without accuracy."""
