"""The build of the job scripts: the joined file behaves as its parts do, or the build is refused."""

import json
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from tests.conftest import CHECKOUT

JOBS = CHECKOUT / "deployments/jobs"
HEADER = '# /// script\n# dependencies = ["numpy==1.0"]\n# ///\n'
SCRIPT = '''"""Says a word."""

import json
import sys

from ..common.words import LOUD, say
from .words import Word


def main() -> int:
    print(json.dumps([__doc__, say(Word("hi").text), LOUD]))
    return 3


if __name__ == "__main__":
    sys.exit(main())
'''
WORDS = '''"""Words."""

import json
from functools import cache

# How loud.
LOUD = 2


@cache
def say(text: str) -> str:
    return json.loads(json.dumps(text)) + "!" * LOUD
'''
WORD = '''"""One word."""

from functools import cache, partial

from ..common.words import say


class Word:
    def __init__(self, text: str) -> None:
        self.text = partial(say, text)()
'''
PARTS = {"one/script.py": HEADER + SCRIPT, "common/words.py": WORDS, "one/words.py": WORD}


@pytest.fixture(scope="module")
def build():
    spec = spec_from_file_location("job_build", JOBS / "build.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def join(build, tmp_path):
    """Write the parts, some of them changed, and join them."""

    def write(**changed):
        for name, text in (PARTS | {name.replace("__", "/") + ".py": text for name, text in changed.items()}).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            if text:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return build.join(tmp_path, "one/script.py")

    return write


def test_the_joined_file_does_what_its_parts_do(join, tmp_path):
    (tmp_path / "joined.py").write_text(join(), encoding="utf-8")
    done = subprocess.run([sys.executable, "-S", "-I", tmp_path / "joined.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert json.loads(done.stdout) == ["Says a word.", "hi!!!!", 2]


def test_metadata_comes_first_and_each_part_names_its_source(join):
    text = join()
    assert text.startswith(HEADER)
    assert re.findall(r"^# --- (\S+) ---$", text, re.MULTILINE) == [f"deployments/jobs/{name}" for name in ("common/words.py", "one/words.py", "one/script.py")]
    assert re.findall(r"^(?:from|import) .*", text, re.MULTILINE) == ["import json", "import sys", "from functools import cache, partial"]
    assert "# How loud.\nLOUD = 2" in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"one__words": WORD + "\n\ndef say(text: str) -> str:\n    return text\n"}, "one/words.py imports 'say'|both define 'say'"),
        ({"one__words": WORD + "\n\nLOUD: int = 3\n"}, "one/words.py and common/words.py both define 'LOUD'"),
        ({"one__words": WORD + "\n\n(json, LOUDER) = 1, 2\n"}, "imports 'json', which one/words.py defines"),
        ({"one__words": WORD.replace("import cache, partial", "import lru_cache as cache, partial")}, "'cache' means"),
        ({"one__words": WORD.replace("import cache, partial", "import partial as json, partial")}, "'json' means"),
        ({"one__words": WORD + "\n\ndef print(text: str) -> None: ...\n"}, "'print', which is a built-in of Python"),
        ({"one__words": WORD.replace("import say", "import shout")}, "'shout', which common/words.py does not define"),
        ({"one__words": WORD.replace("import say", "import say as tell")}, "import names, as they are"),
        ({"one__words": WORD.replace("from ..common.words", "from ..common.verbs")}, "common/verbs.py, which does not exist"),
        ({"one__words": WORD.replace("self.text =", "from ..common.words import LOUD\n        self.text =")}, "import it at the top"),
        ({"one__words": WORD + "\n\nTEXT = __doc__\n"}, "__doc__, which only a script.py may"),
        ({"one__words": WORD + "\n\nfor number in (1, 2):\n    Word(str(number))\n"}, "another statement than an assignment or a definition"),
        ({"one__words": WORD.removeprefix('"""One word."""\n')}, "one/words.py has no docstring"),
        (
            {"common__words": WORDS.replace("import json", "import json\nfrom ..one.words import Word", 1)},
            "circle: common/words.py → one/words.py → common/words.py",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parts_whose_meaning_would_change_in_one_file_are_refused(join, build, changed, words):
    with pytest.raises(build.BuildError, match=words):
        join(**changed)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_built_files_are_current_and_every_process_builds_the_same(seed):
    command = [sys.executable, str(JOBS / "build.py"), "--check"]
    done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_stale_file_is_named_and_rebuilt(build, tmp_path, monkeypatch, capsys):
    join_parts = build.join
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "join", lambda folder, first: join_parts(JOBS, first))
    monkeypatch.setattr(build, "SCRIPTS", {name: build.SCRIPTS[name] for name in ("train_sft.py", "unpack_gguf.py")})  # each takes a third of a second
    (tmp_path / "built").mkdir()
    assert build.main([]) == 0
    (tmp_path / "built/train_sft.py").write_text("# changed by hand\n", encoding="utf-8")
    assert build.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "built/train_sft.py" in said
    assert "unpack_gguf" not in said
    assert (build.main([]), build.main(["--check"])) == (0, 0)
    assert (tmp_path / "built/train_sft.py").read_bytes() == (JOBS / "built/train_sft.py").read_bytes()


def test_every_part_is_in_a_script_and_none_is_long(build):
    used = {part.name for first in build.SCRIPTS.values() for part in build.collect(JOBS, first)}
    there = {str(path.relative_to(JOBS)) for path in JOBS.rglob("*.py") if "built" not in path.parts}
    assert there - used == {"__init__.py", "build.py"}
    assert {path.name for path in (JOBS / "built").glob("*.py")} == set(build.SCRIPTS)
    assert not [name for name in there if len((JOBS / name).read_text(encoding="utf-8").splitlines()) > 300]
