"""Numbers between 0 and 1 that are spread evenly over consecutive seeds, a sequence of its own for each purpose.

A plain random number gives each persona its due on average; in a batch of a hundred some values come up twice as often as they should. Here every
aligned block of 2^k seeds has one number in each 2^k-th of the interval, and any other run of seeds is nearly as even. It is the van der Corput
sequence, shuffled and scrambled by nested permutations (Owen 1995; hashing by Laine and Karras 2011; shuffling by Burley, "Practical Hash-based Owen
Scrambling", JCGT 9(4), 2020), so that the sequences of two purposes have nothing to do with each other.
"""

from functools import cache

from core.fingerprint import seed_of

BITS = 32
MASK = 2**BITS - 1


def spread(seed: int, *purpose: object) -> float:
    """Return the number of a seed, in [0, 1).

    Args:
        purpose: names the sequence.
    """
    shuffle, scramble = _keys(purpose)
    return _scrambled(_reversed(_scrambled(seed & MASK, shuffle)), scramble) / 2**BITS


@cache
def _keys(purpose: tuple[object, ...]) -> tuple[int, int]:
    return seed_of("shuffle", *purpose), seed_of("scramble", *purpose)


def _scrambled(value: int, key: int) -> int:
    """Permute the halves of the interval, the quarters of each half, and so on."""
    bits = _reversed(value)
    bits = (bits + key) & MASK
    bits ^= (bits * 0x6C50B47C) & MASK
    bits ^= (bits * 0xB82F1E52) & MASK
    bits ^= (bits * 0xC7AFE638) & MASK
    bits ^= (bits * 0x8D22F6E6) & MASK
    return _reversed(bits)


def _reversed(bits: int) -> int:
    return int(f"{bits:032b}"[::-1], 2)
