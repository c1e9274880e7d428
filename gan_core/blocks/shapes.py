"""What networks ask of their sizes."""


def first_grid(
    size: int, aspect: tuple[int, int], least: int = 16, most: int = 512
) -> tuple[int, int]:
    """Rows and columns of the smallest map of a picture: 4 of each for a square one.

    Pictures are size * rows high and size * columns wide, for aspect = (rows, columns). ValueError
    unless size is a power of two from ``least`` to ``most``.
    """
    if not least <= size <= most or size & (size - 1):
        raise ValueError(f"size must be a power of two from {least} to {most}, not {size}")
    if len(aspect) != 2 or min(aspect) < 1:
        raise ValueError(f"aspect must be rows and columns, each 1 or more, not {aspect}")
    return 4 * aspect[0], 4 * aspect[1]


def check_counts(**counts: int) -> None:
    """ValueError for the first that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, not {count}")
