"""A large batch of a pack's personas, drawn once per process."""

from functools import cache

from core.packs.pack import load_pack
from core.records import Persona
from core.rehearsal.personas import sample_batch
from tests.conftest import CHECKOUT

COUNT = 1024


@cache
def many_personas(domain: str) -> list[Persona]:
    """Return the personas of the first seeds; `bicycle-workshop` is a pack of the tests."""
    pack = load_pack(domain, CHECKOUT / "tests/packs") if domain == "bicycle-workshop" else load_pack(domain)
    return sample_batch(pack, 0, COUNT)
