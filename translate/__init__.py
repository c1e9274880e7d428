"""Image-to-image translation: CycleGAN, and what it needs from data to converted folders."""
