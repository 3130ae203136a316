"""Numbers between 0 and 1 that are spread evenly over consecutive seeds, a sequence of its own for each purpose.

A plain random number gives each persona its due on average; in a batch of a hundred some values come up twice as often as they should. Here every
aligned block of 2^k seeds has one number in each 2^k-th of the interval, and any other run of seeds is nearly as even. It is the van der Corput
sequence, shuffled and scrambled by nested permutations (Owen 1995; hashing by Laine and Karras 2011; shuffling by Burley, "Practical Hash-based Owen
Scrambling", JCGT 9(4), 2020), so that the sequences of two purposes have nothing to do with each other.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from core.fingerprint import seed_of

Name = TypeVar("Name")
BITS = 32
MASK = 2**BITS - 1


def spread(seed: int, *purpose: object) -> float:
    """Return the number of a seed, in [0, 1).

    Args:
        purpose: names the sequence.
    """
    shuffle, scramble = _keys(purpose)
    return _reversed(_mixed(_reversed(_mixed(_reversed(seed & MASK), shuffle)), scramble)) / 2**BITS


def at(weights: Mapping[Name, float], place: float) -> Name:
    """Return the one that stands at a place between 0 and 1, where each takes a stretch as long as its weight."""
    total, reached = sum(weights.values()), 0.0
    for name, weight in weights.items():
        reached += weight / total
        if place < reached:
            return name
    return list(weights)[-1]


def within(weights: Mapping[Name, float], place: float) -> float:
    """Return where in the stretch of the one that stands there a place lies, between 0 and 1."""
    total, reached = sum(weights.values()), 0.0
    for weight in weights.values():
        if place < reached + weight / total:
            return (place - reached) / (weight / total)
        reached += weight / total
    return 0.0


@cache
def _keys(purpose: tuple[object, ...]) -> tuple[int, int]:
    return seed_of("shuffle", *purpose), seed_of("scramble", *purpose)


def _mixed(bits: int, key: int) -> int:
    """Permute the halves of the interval, the quarters of each half, and so on, of a number whose bits are in reverse."""
    bits = (bits + key) & MASK
    bits ^= (bits * 0x6C50B47C) & MASK
    bits ^= (bits * 0xB82F1E52) & MASK
    bits ^= (bits * 0xC7AFE638) & MASK
    return bits ^ ((bits * 0x8D22F6E6) & MASK)


def _reversed(bits: int) -> int:
    return int(f"{bits:032b}"[::-1], 2)
