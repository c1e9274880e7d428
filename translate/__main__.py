"""``python -m translate``: the command without its script."""

from translate.cli import main

main()
