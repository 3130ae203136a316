"""Finds near-duplicate transcripts: re-runs of another one, and beginnings of a longer one.

Exchanges are compared, user and assistant together. Two exchanges are alike if their words are the same, or if their sets of shingles (runs of words)
overlap enough, which is estimated from MinHash signatures. Very short exchanges ("ok", "thanks") are ignored on both sides, since a few of them would make
any two transcripts alike. A transcript that has only such exchanges is compared as if it were one exchange.

Source:
    Broder, "On the resemblance and containment of documents", Proc. Compression and Complexity of Sequences (1997): 21–29; bands after Leskovec,
    Rajaraman & Ullman, Mining of Massive Datasets (2014), chapter 3.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from core.judging.text_facts import words
from core.records import Transcript

MAX_MISSED = 0.01
"""Largest probability that two exchanges just at the similarity bound are overlooked; more similar ones are overlooked less often."""


@dataclass(frozen=True)
class Likeness:
    """When two transcripts count as near-duplicates.

    Args:
        similarity: Jaccard similarity of their shingles from which two exchanges are alike.
            Different real conversations reach 0.06, scripted ones 0.68.
        share: share of the shorter transcript's exchanges that must be like one of the other's.
        shingle_words: words per shingle.
        permutations: values per signature; the standard error of the estimated similarity is at
            most 1 / (2 √permutations), here 0.044.
        least_words: exchanges with fewer words, both sides together, are ignored.
    """

    similarity: float = 0.7
    share: float = 0.6
    shingle_words: int = 3
    permutations: int = 128
    least_words: int = 20


LIKENESS = Likeness()


@dataclass(frozen=True)
class Duplicate:
    """A transcript to leave out, and the one that it duplicates.

    Args:
        dropped, kept: the ids of the two.
        share: share of the shorter one's exchanges that are like one of the other's.
        exact: whether all of these exchanges equal the other's word for word.
    """

    dropped: str
    kept: str
    share: float
    exact: bool


@dataclass(frozen=True)
class _Sketch:
    """What stays in memory of a transcript: a hash of the words of each exchange that is compared."""

    id: str
    score: float
    length: int
    exchanges: Counter[bytes]

    @property
    def rank(self) -> tuple[float, int, str]:
        """Sort key; of two near-duplicates the one with the lower rank is kept."""
        return -self.score, -self.length, self.id


def near_duplicates(items: Iterable[tuple[Transcript, float]], likeness: Likeness = LIKENESS) -> list[Duplicate]:
    """Return the transcripts to leave out, each with the kept one that it is most like, sorted by the dropped one's id.

    The transcripts are visited by score, highest first, then by length, longest first, then by id. A transcript is kept if it is like none that was kept
    before. The order of the items makes no difference.

    Args:
        items: transcripts, each with its score; read once, and their text is not stored.
    """
    signatures = _Signatures(likeness)
    sketches = [_sketch(transcript, score, likeness, signatures) for transcript, score in items]
    kept, duplicates = _Kept(signatures), []
    for sketch in sorted(sketches, key=lambda item: item.rank):
        closest = max(kept.compared(sketch), key=lambda item: item.share, default=None)
        if closest and closest.share >= likeness.share:
            duplicates.append(closest)
        else:
            kept.add(sketch)
    return sorted(duplicates, key=lambda item: item.dropped)


class _Signatures:
    """The MinHash signatures of exchanges, by the hash of their words, and an index that finds the exchanges like a given one."""

    def __init__(self, likeness: Likeness) -> None:
        from datasketch import LeanMinHash, MinHash, MinHashLSH

        self._blank, self._lean = MinHash(likeness.permutations, seed=1), LeanMinHash
        self._index = MinHashLSH(num_perm=likeness.permutations, params=_bands(likeness))
        self._known: dict[bytes, MinHash] = {}
        self._likeness = likeness

    def add(self, exchange_words: Sequence[str]) -> bytes:
        """Compute the signature of an exchange's words, and return the hash of the words."""
        key = blake2b(" ".join(exchange_words).encode(), digest_size=16).digest()
        if key not in self._known:
            size = self._likeness.shingle_words
            signature = self._blank.copy()
            signature.update_batch({" ".join(exchange_words[start : start + size]).encode() for start in range(max(1, len(exchange_words) - size + 1))})
            self._known[key] = self._lean(signature)
        return key

    def like(self, key: bytes) -> list[bytes]:
        """Return the indexed exchanges that are like an exchange."""
        own = self._known[key]
        candidates = (other for other in self._index.query(own) if isinstance(other, bytes))
        return [other for other in candidates if own.jaccard(self._known[other]) >= self._likeness.similarity]

    def index(self, key: bytes) -> None:
        """Add an exchange to the index."""
        if key not in self._index:
            self._index.insert(key, self._known[key])


class _Kept:
    """The kept transcripts, by their exchanges."""

    def __init__(self, signatures: _Signatures) -> None:
        self._signatures = signatures
        self._holders: dict[bytes, list[_Sketch]] = defaultdict(list)

    def add(self, sketch: _Sketch) -> None:
        for key in sketch.exchanges:
            self._signatures.index(key)
            self._holders[key].append(sketch)

    def compared(self, sketch: _Sketch) -> Iterator[Duplicate]:
        """Yield a comparison with each kept transcript that has an exchange like one of this transcript's, in the order in which those were kept."""
        ours: dict[str, set[bytes]] = defaultdict(set)
        theirs: dict[str, set[bytes]] = defaultdict(set)
        others: dict[str, _Sketch] = {}
        for key in sketch.exchanges:
            for like in self._signatures.like(key):
                for other in self._holders[like]:
                    others[other.id] = other
                    ours[other.id].add(key)
                    theirs[other.id].add(like)
        for name, other in sorted(others.items(), key=lambda item: item[1].rank):
            ours_is_shorter = sketch.exchanges.total() <= other.exchanges.total()
            shorter, longer, common = (sketch, other, ours[name]) if ours_is_shorter else (other, sketch, theirs[name])
            share = sum(shorter.exchanges[key] for key in common) / shorter.exchanges.total()
            yield Duplicate(sketch.id, name, share, all(key in longer.exchanges for key in common))


def _sketch(transcript: Transcript, score: float, likeness: Likeness, signatures: _Signatures) -> _Sketch:
    exchanges = [words(exchange.user) + words(exchange.assistant) for exchange in transcript.exchanges]
    all_words = [word for each in exchanges for word in each]
    compared = [each for each in exchanges if len(each) >= likeness.least_words] or ([all_words] if all_words else [])
    return _Sketch(transcript.id, score, len(exchanges), Counter(signatures.add(each) for each in compared))


def _bands(likeness: Likeness) -> tuple[int, int]:
    """Return the number of bands and their length: the longest bands that overlook at most `MAX_MISSED`, since these need the fewest comparisons."""
    lengths = range(likeness.permutations // 2, 1, -1)
    missed = {length: (1 - likeness.similarity**length) ** (likeness.permutations // length) for length in lengths}
    length = next((length for length in lengths if missed[length] <= MAX_MISSED), 1)
    return likeness.permutations // length, length
