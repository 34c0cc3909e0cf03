"""What the doctor measures and says: facts of every image, pictures that are the same, findings, a cleaned table."""
