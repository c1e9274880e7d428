"""Layers and initialisations that networks of several systems share."""
