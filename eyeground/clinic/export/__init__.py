"""The forms in which signed cases leave: a file a form."""
