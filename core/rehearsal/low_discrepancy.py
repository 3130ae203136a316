"""Numbers between 0 and 1 that are spread evenly over consecutive seeds, with an independent sequence for each purpose.

Plain random numbers match the weights only on average: in a batch of a hundred, some values occur twice as often as they should. Here every aligned
block of 2^k seeds has one number in each 2^k-th of the interval, and any other run of seeds is nearly as even. This is the van der Corput sequence,
shuffled and scrambled by nested permutations (Owen 1995; hashing by Laine and Karras 2011; shuffling by Burley, "Practical Hash-based Owen
Scrambling", JCGT 9(4), 2020), so the sequences of two purposes are uncorrelated.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from core.fingerprint import seed_of

Name = TypeVar("Name")
BITS = 32
MASK = 2**BITS - 1
_REVERSED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def spread(seed: int, *purpose: object) -> float:
    """Return the number of a seed, in [0, 1).

    Args:
        seed: position in the sequence.
        purpose: the parts of the sequence's name.
    """
    shuffle, scramble = _keys(purpose)
    return _reversed(_mixed(_reversed(_mixed(_reversed(seed & MASK), shuffle)), scramble)) / 2**BITS


def at(weights: Mapping[Name, float], place: float) -> Name:
    """Return the name whose interval contains a place in [0, 1); the intervals follow each other and are as long as the weights."""
    total, reached = sum(weights.values()), 0.0
    for name, weight in weights.items():
        reached += weight / total
        if place < reached:
            return name
    return list(weights)[-1]


def within(weights: Mapping[Name, float], place: float) -> float:
    """Return the relative position, from 0 to 1, of a place within the interval that contains it; the intervals are those of `at`."""
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
    """Return a number with reversed bits after a nested permutation: of the halves of the interval, of the quarters of each half, and so on."""
    bits = (bits + key) & MASK
    bits ^= (bits * 0x6C50B47C) & MASK
    bits ^= (bits * 0xB82F1E52) & MASK
    bits ^= (bits * 0xC7AFE638) & MASK
    return bits ^ ((bits * 0x8D22F6E6) & MASK)


def _reversed(bits: int) -> int:
    return int.from_bytes(bits.to_bytes(BITS // 8, "little").translate(_REVERSED_BYTES), "big")
