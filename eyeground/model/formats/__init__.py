"""Foreign weights files, a format a file: ``claims(head)`` says whose it is, ``read(file, name=...)`` finds tensors."""
