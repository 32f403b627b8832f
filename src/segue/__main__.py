"""`python -m segue`: the command line where no script of that name is on the path."""

from segue.cli import main

main()
