"""Train a smaller generator, the student, to generate a larger one's images: its teacher's."""
