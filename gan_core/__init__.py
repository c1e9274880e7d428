"""Unconditional GAN systems, each exact to its paper, and one trainer that runs them all."""
