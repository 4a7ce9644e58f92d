"""The one exception that users are meant to read."""


class NesfError(ValueError):
    """Bad input. Its text is one sentence with the offending value, what was expected and the cure."""
