"""Why an explanation was not made."""


class NoAttention(ValueError):
    """A method that reads attention was asked of a network that has none it could read."""
