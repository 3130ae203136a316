"""Transcripts that are nearly another one: re-runs, and beginnings of longer ones.

Exchanges are compared, user and assistant together. Two are alike if their words are the same, or if the sets of their shingles (runs of words) overlap
enough, which is estimated from MinHash signatures. Those too short to tell anything ("ok", "thanks") count on neither side, or a few of them would make
any two transcripts alike; a transcript that has no others is compared as a whole, as if it were one exchange.

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

MISSED = 0.01
"""How likely two exchanges that are just alike may be overlooked; those that are more alike are overlooked less."""


@dataclass(frozen=True)
class Likeness:
    """When two transcripts are nearly the same.

    Args:
        similarity: Jaccard similarity of their shingles from which two exchanges are alike.
            Different real conversations reach 0.06, scripted ones 0.68.
        share: of the shorter transcript's exchanges that must be like one of the other's.
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
    """A transcript to leave out.

    Args:
        dropped, kept: ids.
        share: of the shorter one's exchanges that are like one of the other's.
        exact: whether all of those are the other's word for word.
    """

    dropped: str
    kept: str
    share: float
    exact: bool


@dataclass(frozen=True)
class _Sketch:
    """What is remembered of a transcript: for each exchange that counts, a hash of its words."""

    id: str
    score: float
    length: int
    exchanges: Counter[bytes]

    @property
    def rank(self) -> tuple[float, int, str]:
        """Lowest for what is rather kept."""
        return -self.score, -self.length, self.id


def near_duplicates(items: Iterable[tuple[Transcript, float]], likeness: Likeness = LIKENESS) -> list[Duplicate]:
    """Return the transcripts to leave out, each with a kept one that it is like, by the dropped one's id.

    Transcripts are gone through from the highest score down, of equal scores the longest first, then by id; each is kept if it is like no kept one.
    The order of the items makes no difference.

    Args:
        items: transcripts, each with its score; read once, and no text is kept.
    """
    signatures = _Signatures(likeness)
    sketches = [_sketch(transcript, score, likeness, signatures) for transcript, score in items]
    kept, duplicates = _Kept(signatures), []
    for sketch in sorted(sketches, key=lambda item: item.rank):
        like = max(kept.compared(sketch), key=lambda item: item.share, default=None)
        if like and like.share >= likeness.share:
            duplicates.append(like)
        else:
            kept.add(sketch)
    return sorted(duplicates, key=lambda item: item.dropped)


class _Signatures:
    """Signatures of exchanges, by the hash of their words, and the index in which those like an exchange are found."""

    def __init__(self, likeness: Likeness) -> None:
        from datasketch import LeanMinHash, MinHash, MinHashLSH

        self._blank, self._lean = MinHash(likeness.permutations, seed=1), LeanMinHash
        self._index = MinHashLSH(num_perm=likeness.permutations, params=_bands(likeness))
        self._known: dict[bytes, MinHash] = {}
        self._likeness = likeness

    def add(self, said: Sequence[str]) -> bytes:
        """Take an exchange's words and return their hash."""
        key = blake2b(" ".join(said).encode(), digest_size=16).digest()
        if key not in self._known:
            size = self._likeness.shingle_words
            signature = self._blank.copy()
            signature.update_batch({" ".join(said[start : start + size]).encode() for start in range(max(1, len(said) - size + 1))})
            self._known[key] = self._lean(signature)
        return key

    def like(self, key: bytes) -> list[bytes]:
        """Return the indexed exchanges that an exchange is like."""
        own = self._known[key]
        candidates = (other for other in self._index.query(own) if isinstance(other, bytes))
        return [other for other in candidates if own.jaccard(self._known[other]) >= self._likeness.similarity]

    def index(self, key: bytes) -> None:
        """Let an exchange be found from now on."""
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
        """Compare a transcript with the kept ones that have an exchange like one of its, in the order in which these were kept."""
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
    said = [_plain(exchange.user) + _plain(exchange.assistant) for exchange in transcript.exchanges]
    whole = [word for each in said for word in each]
    telling = [each for each in said if len(each) >= likeness.least_words] or ([whole] if whole else [])
    return _Sketch(transcript.id, score, len(said), Counter(signatures.add(each) for each in telling))


def _plain(text: str) -> list[str]:
    return words(text.replace("’", "'"))


def _bands(likeness: Likeness) -> tuple[int, int]:
    """Return the number of bands and their length: the longest bands, which make the fewest needless comparisons, that overlook few enough."""
    lengths = range(likeness.permutations // 2, 1, -1)
    missed = {length: (1 - likeness.similarity**length) ** (likeness.permutations // length) for length in lengths}
    length = next((length for length in lengths if missed[length] <= MISSED), 1)
    return likeness.permutations // length, length
