"""Where a model looked: heat maps, the anatomy under them, and tests of whether a map is worth anything."""
