"""How fast the toolkit is, beside the plain way of doing the same, measured in one run."""
