"""A template only fills in text: it runs no code, reads only its inputs and ends."""

import resource
from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PackError
from core.packs import template_filters
from core.packs.prompts import check_prompt
from core.packs.template_filters import MAX_CHARACTERS
from core.packs.templates import fill, inputs_of
from core.records import Exchange

GIVEN = {
    "exchanges": [{"exchange_number": number, "user": "hello", "assistant": "hi"} for number in range(1, 101)],
    "facts": {"ratio": 1.25, "words": [3, 5], "name": "a_b"},
}

CODE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ facts['__class__'] }}",
    "{{ facts.name | attr('__class__') }}",
    "{{ exchanges | map(attribute='__class__') | join }}",
    "{{ exchanges | map(attribute='user.__class__.__mro__') | join }}",
    "{{ exchanges | sort(attribute='__class__') }}",
    "{{ [facts] | map('attr', '__class__') | join }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ joiner.__init__ }}",
    "{{ namespace(a=1) }}",
    "{{ dict(a=1) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{% for x in exchanges %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in exchanges %}{{ loop.cycle('a') }}{% endfor %}",
    "{{ '{0.__class__}'.format(facts) }}",
    "{{ '{0.__class__}' | format(facts) }}",
    "{{ '%s' | format(facts) }}",
    "{{ 'x'.format_map(facts) }}",
    "{{ 'x'.join(facts.name) }}",
    "{{ facts.name.upper() }}",
    "{{ facts.items }}",
    "{{ facts.clear() }}",
    "{{ facts.update({'a': 1}) }}",
    "{{ exchanges.append(1) }}",
    "{{ facts.items(1) }}",
    "{{ facts.values(*exchanges) }}",
    "{{ (facts.items)() }}{{ facts() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block x %}{% endblock %}",
    "{% set x.y = 1 %}",
    "{% do facts.clear() %}",
    "{% autoescape true %}{% endautoescape %}",
    "{{ facts | pprint }}",
    "{{ facts | tojson }}",
    "{{ facts | xmlattr }}",
    "{{ facts | _counted }}",
    "{{ facts }}",
    "{{ exchanges }}",
    "{% for x in exchanges %}{{ loop }}{% endfor %}",
]

ENDLESS = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{{ 'x' * 10**9 }}",
    "{{ 'x' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ '%999999999d' | format(1) }}",
    "{{ '%.999999999f' | format(1) }}",
    "{{ '%*d' | format(999999999, 1) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ 'x' | center(999999999) }}",
    "{{ 'x' | indent(999999999) }}",
    "{{ 1.5 | round(999999999, 'ceil') }}",
    "{{ exchanges | batch(999999999, 'x') | list }}",
    "{{ exchanges | sum(start=[]) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "{% for x in exchanges recursive %}{{ loop(exchanges) }}{% endfor %}",
    "{% call m() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set x %}x{% endset %}",
    "{% with x = 1 %}{% endwith %}",
    "".join(f"{{% for a{i} in exchanges %}}" for i in range(12)) + "x" + "{% endfor %}" * 12,
    "".join(f"{{% for a{i} in exchanges %}}" for i in range(12)) + "{% endfor %}" * 12,
    "".join(f"{{% for a{i} in facts.words %}}" for i in range(40)) + "x" + "{% endfor %}" * 40,
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 40 + "{{ a | length }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a + a %}" * 40 + "{{ a | length }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a | replace('x', a) %}" * 40 + "{{ a | length }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = [a, a, a] | join(a) %}" * 40 + "{{ a | length }}",
    "{% set a = 99999 %}" + "{% set a = a * a %}" * 40 + "{{ a }}",
    "{% set a = ['x'] %}" + "{% set a = [a, a] %}" * 40 + "{{ a == a }}",
    "{% set a = ('x', 'y') %}" + "{% set a = (a, a) %}" * 40 + "{{ a | length }}",
    "{% set a = ['x'] %}" + "{% set a = a + a %}" * 40 + "{{ a | length }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "1 + " * 20000 + "1 }}",
    "{{ " + "not " * 20000 + "1 }}",
    "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    "{{ " + "9" * 5000 + " }}",
    "x" * 100_001,
]

_LONG = "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 19  # five million characters
_MANY = "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 14 + "{% set m = a | list %}"
ENDLESS += [
    _LONG + "{{ a | replace('x', '\u4e2d') | list | length }}",
    _LONG + "{{ a | replace('x', '\u4e2d') | join('') | length }}",
    _LONG + "{{ a | unique | list }}",
    _LONG + "{{ a | max }}",
    _LONG + "{{ [" + "a, " * 2000 + "] | sort | length }}",
    _LONG + "{% if 'y' in [" + "a, " * 2000 + "] %}{% endif %}",
    _LONG + "".join(f"{{% set b{i} = a[1:] %}}" for i in range(500)),
    _LONG + "".join(f"{{% set b{i} = m[1:] %}}" for i in range(500)),
    _LONG + "{{ ('y' ~ a[:99999]) | trim(a ~ 'y') }}",
    _MANY + "{{ m | select('in', ['y']) | list | length }}{{ m | map('replace', 'x', 'y') | select('in', m) | list }}",
    _MANY + "{{ " + "'y' in m or " * 6000 + "false }}",
    "{% set m = exchanges | map(attribute='user') | list %}{% set s = '"
    + "a" * 9000
    + "' | list %}"
    + "{{ s | reject('in', s) | list | length }}" * 1500
    + "{{ 1 / 0 }}",
]

WRONG = [
    "{{ 1 / 0 }}",
    "{{ 1 // 0 }}",
    "{{ 1 % 0 }}",
    "{{ facts.nothing }}",
    "{{ exchanges[100] }}",
    "{{ facts.ratio + 'x' }}",
    "{{ 'x' < 1 }}",
    "{{ facts.name | abs }}",
    "{% for x in 1 %}{% endfor %}",
]
WRONG += [
    "{{ facts.nothing * 2 }}",
    "{{ 1 | replace(1, 2) }}",
    "{{ exchanges | map('nothing') | join }}",
    "{{ exchanges | map(attribute='user', wrong=1) | join }}",
    "{{ [] | first }}",
]
BROKEN = ["{{", "{% if %}", "{% for x in exchanges %}", "{{ x | nothing }}", "{% nothing %}", "{{ 'x }}"]


def _use(text):
    inputs_of(text, "system.md")
    fill(text, "system.md", GIVEN)


@pytest.mark.slow
@pytest.mark.parametrize("text", [*CODE, *ENDLESS, *WRONG, *BROKEN])
def test_a_template_that_does_more_than_fill_in_text_is_refused(monkeypatch, text):
    monkeypatch.setattr(template_filters, "SECONDS", 0.5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackError, match=r"^system\.md: (?:not a Jinja2 template that may be used|the template fails): ") as refused:
        _use(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * MAX_CHARACTERS / 1024


def _longer(inner):
    names = st.sampled_from(["__class__", "items", "format", "name", "gi_frame", "mro"])
    filters = st.sampled_from(["list", "first", "join", "map(attribute='user')", "replace('x', 'y')", "int", "format(1)", "attr('__class__')"])
    return st.one_of(
        st.tuples(inner, names).map(lambda pair: f"({pair[0]}).{pair[1]}"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]})[{pair[1]}]"),
        st.tuples(inner, st.sampled_from(["+", "*", "~", "%", "//", "in", "=="]), inner).map(lambda three: f"({three[0]}) {three[1]} ({three[2]})"),
        st.tuples(inner, filters).map(" | ".join),
        inner.map(lambda one: f"({one})()"),
    )


@given(st.recursive(st.sampled_from(["exchanges", "facts", "facts.name", "'x'", "7", "[]", "nothing"]), _longer, max_leaves=8))
def test_a_template_expression_renders_its_inputs_or_is_refused(expression):
    try:
        text = fill("{{ " + expression + " }}", "system.md", GIVEN)
    except PackError:
        return
    assert "<" not in text  # as in the repr of a Python object
    assert "built-in" not in text


@dataclass
class Record:
    side: str
    word: StrEnum


def test_a_template_receives_records_as_plain_values():
    words = StrEnum("words", {"ONE": "one"})
    filled = fill(
        "{{ a.side }} {{ a.word }} {{ b[0].user }} {{ b | length }}",
        "x.md",
        {"a": Record("left", words.ONE), "b": (Exchange(exchange_number=1, user="u", assistant="a"),)},
    )
    assert filled == "left one u 1"
    with pytest.raises(PackError, match="a function is not a plain value"):
        fill("{{ a }}", "x.md", {"a": lambda: None})


PROMPT = """
{% set n = exchanges | length %}
{% for one in exchanges[:3] if one.user %}
{{ loop.index }}/{{ loop.length }}{{ "." if loop.last else "," }}
{% else %}
none
{% endfor %}
{{ "%.2f" | format(facts.ratio / 2) }} {{ facts.name | replace("_", " ") | capitalize }} {{ (facts.ratio * n) | round | int }}
{{ [facts.words[0], 9] | max }} {{ exchanges | map(attribute="exchange_number") | list | last }} {{ "yes" if n in (100, 200) else "no" }}
{% for key, value in facts.items() if value is string %}
{{ key ~ "=" ~ value }}
{% endfor %}
"""


def test_the_template_syntax_of_the_prompts_works():
    assert fill(PROMPT, "x.md", GIVEN).split() == ["1/3,", "2/3,", "3/3.", "0.62", "A", "b", "125", "9", "100", "yes", "name=a_b"]


def test_filled_in_text_is_not_read_as_a_template():
    assert fill("{{ a }}", "x.md", {"a": "{{ 1 / 0 }} <b>"}) == "{{ 1 / 0 }} <b>"


@pytest.mark.parametrize("front", ["inputs: 3", "inputs: [[a]]", "inputs: {a: 1}", "inputs: [2024-01-01]", "1: 2\na: 3"])
def test_inputs_must_be_a_list_of_names(tmp_path, front):
    with pytest.raises(PackError, match=r"system\.md"):
        check_prompt(tmp_path / "system.md", f"---\n{front}\n---\ntext")
