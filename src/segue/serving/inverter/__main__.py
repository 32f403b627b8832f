"""`python -m segue.serving.inverter INVERSION CORRECTOR`: the worker, by hand. Type a request, read an answer."""

from segue.serving.inverter.worker import main

main()
