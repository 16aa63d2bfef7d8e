"""`python -m nodes.cli`: the same as `comity`."""

from nodes.cli import main

main()
