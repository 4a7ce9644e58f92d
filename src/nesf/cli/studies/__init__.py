"""``nesf study``: one module for each group of studies."""
