"""`python -m flows.terminal` is `understudy`."""

from flows.terminal.command import main

main()
