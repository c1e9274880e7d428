"""Unconditional GAN systems, a file for each."""
