"""One family of faults a file: ``find(case)`` gives what it found. The doctor runs every file of this shelf."""
