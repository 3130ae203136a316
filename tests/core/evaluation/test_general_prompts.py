"""General prompts: right answers are known as right in the forms in which models give them, and wrong ones as wrong."""

import pytest

from core.errors import PackError
from core.evaluation.general_prompts import load_general_prompts

RIGHT = {
    "capital": ["Canberra", "The capital of Australia is **Canberra**."],
    "element": ["Iron", "iron."],
    "planet": ["Jupiter"],
    "sum": ["75", "48 + 27 = 75."],
    "fractions": ["30", "€30", "30.00 euros"],
    "steps": ["Cleo", "Cleo."],
    "weekday": ["Saturday", "It will be Saturday."],
    "translation": ["« Bonjour, mon ami. »", "Bonjour mon ami"],
    "json": ['{"name": "Ada", "age": 36}', '```json\n{\n  "name": "Ada",\n  "age": 36\n}\n```'],
    "list": ["Red\nBlue\nYellow", "- red\n- yellow\n- blue\n"],
    "code": ["def double(x):\n    return x * 2", "```python\ndef double(n: int) -> int:\n    return 2 * n\n```"],
    "opposite": ["Modern", "new"],
    "summary": ["A museum that burnt was rebuilt by its neighbours and is a library now.", "After a fire closed the museum, neighbours made it a library."],
    "obedience": ["blue", "Blue."],
}
WRONG = {
    "capital": ["Sydney", ""],
    "element": ["Irony"],
    "planet": ["Saturn"],
    "sum": ["65", "175", "7.5"],
    "fractions": ["10", "300"],
    "steps": ["Ben", "Anna is taller than Cleo, so Ben"],
    "weekday": ["Friday"],
    "translation": ["Good morning, mon ami"],
    "json": ['{"name": "Ada"}', '{"name": "Ada", "age": "36"}'],
    "list": ["Red, blue and yellow", "Red\nBlue"],
    "code": ["double = lambda x: 2 * x", "def double(x):\n    return x"],
    "opposite": ["old"],
    "summary": ["A museum closed."],
    "obedience": ["Sure! The word is blue", "red"],
}


def test_every_prompt_has_examples_here():
    assert {item.name for item in load_general_prompts()} == RIGHT.keys() == WRONG.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_right_and_wrong_ones_wrong(name):
    (asked,) = (item for item in load_general_prompts() if item.name == name)
    assert [answer for answer in RIGHT[name] if not asked.is_right(answer)] == []
    assert [answer for answer in WRONG[name] if asked.is_right(answer)] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, prompt: p, expected: e, pattern: '('}", "not a regular expression"),
        ("- {name: a, prompt: p, expected: e, pattern: x}\n- {name: a, prompt: p, expected: e, pattern: x}", "called 'a'"),
        ("- {name: a, prompt: p, expected: e}", "pattern"),
        ("{name: a}", "list"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_is_wrong(tmp_path, text, said):
    path = tmp_path / "general.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=r"general\.yaml") as caught:
        load_general_prompts(path)
    assert said in str(caught.value)
