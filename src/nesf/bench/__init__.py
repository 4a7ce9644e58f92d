"""How fast the package is, measured against references written literally."""
