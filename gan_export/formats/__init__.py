"""The formats of export files: how they are detected, their manifest, their files."""
