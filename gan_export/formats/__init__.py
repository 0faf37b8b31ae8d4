"""What an export file is: its kind, its manifest, its files."""
