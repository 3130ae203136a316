"""Lets several processes spend one budget at a provider that keeps its own bill, while they are killed, time out, or get wrong usage figures.

    python -m bench.budget [rounds] [checkout=folder]

Takes a minute a round.

Exits with code 1 if the provider billed more than the budget, or more than the ledger records. `checkout` runs another version of the code.
"""

import sys
import tempfile
from pathlib import Path

from tests.core.paying import CHECKOUT, LIES, Round, play
from tests.stub.client import start_stub

USD = 0.5
ROUNDS = {
    "the same command three times at once": Round(at_once=3),
    "kill -9 four times": Round(kills=4, latency=0.3),
    "timeouts": Round(latency=0.6, timeout=0.3),
    "usage null": Round(lies=["null"]),
    "usage negative": Round(lies=["negative"]),
    "usage in text": Round(lies=["text"]),
    "all lies, three at once, six kills": Round(at_once=3, kills=6, lies=list(LIES)),
}


def main(words: list[str]) -> int:
    """Play all rounds and print a table."""
    checkout = next((Path(word.partition("=")[2]) for word in words if word.startswith("checkout=")), CHECKOUT)
    count = next((int(word) for word in words if word.isdigit()), 1)
    worst = 0
    print("| what happens | the provider bills | the ledger says | of a budget of |\n|---|---:|---:|---:|")
    with start_stub() as stub:
        for seed in range(count):
            for name, scenario in ROUNDS.items():
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        billed, recorded, _ = play(scenario, stub, Path(folder), USD, seed, checkout=checkout)
                    except AssertionError as problem:
                        print(f"| {name} | a process failed: {str(problem).strip().splitlines()[-1]} | | |", flush=True)
                        worst = 1
                        continue
                worst |= billed > USD or billed > recorded + 1e-9
                print(f"| {name} | {billed:.2f} | {recorded:.2f} | {USD:.2f} |", flush=True)
    return int(worst)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
