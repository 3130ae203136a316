"""`python -m flows.terminal` runs the command `understudy`."""

from flows.terminal.command import main

main()
