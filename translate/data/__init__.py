"""Pictures: reading, transforming, data sets, and the tools of ``translate data``."""
