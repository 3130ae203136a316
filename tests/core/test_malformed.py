"""Reading any malformed file ends soon, with the value or one error."""

import pytest

from bench.malformed import malformed


@pytest.mark.slow
def test_no_malformed_file_causes_a_traceback_or_a_hang():
    bad = [(str(path), given[:200], found) for path, given, found in malformed(1, seed=19) if found not in ("read", "refused")]
    assert not bad
