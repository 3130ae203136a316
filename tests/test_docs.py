"""What the docs name exists: files, anchors, commands, settings, variables."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from core.packs.prompts import read_front_matter
from core.settings.pipeline import Settings, load_training
from core.settings.reference import setting_rows
from flows.terminal.signatures import option_of, read_signature
from flows.terminal.words import WORDS
from tests.conftest import CHECKOUT

PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md"), *(CHECKOUT / ".claude").rglob("*.md")])
FOLDERS = ("config", "prompts", "docs", "core", "flows", "studio", "tasks", "blocks", "deployments", "bench", "tests", ".ci", ".claude")
MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
TAKES = {name: set(re.findall(r"(?<=[ \[])([A-Z][A-Z_]*)=", found)) for name, found in re.findall(r"^([a-z-]+):.*## .*(\[.*\])", MAKEFILE, re.MULTILINE)}
SOURCES = (
    "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for folder in ("core", "flows", "studio", "tasks", "blocks", "deployments", "tests", ".ci")
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".sh", ".yaml", "") and "__pycache__" not in path.parts
    )
    + MAKEFILE
)


@cache
def text_of(page):
    return page.read_text(encoding="utf-8")


@cache
def code_of(page):
    """Everything that stands as code in a page: fences and spans."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text_of(page)):
        found += [token.content] if token.type in ("fence", "code_block") else []
        found += [child.content for child in token.children or [] if child.type == "code_inline"]
    return found


@cache
def anchors_of(page):
    """GitHub's names of a page's headings."""
    tokens, found = MarkdownIt("commonmark").parse(text_of(page)), []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(child.content for child in tokens[place + 1].children or [] if child.type in ("text", "code_inline"))
            found.append(re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-"))
    return found


def names(pages):
    return [str(page.relative_to(CHECKOUT)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    wrong = []
    for token in MarkdownIt("commonmark").enable("table").parse(text_of(page)):
        for child in token.children or []:
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src") if child.type == "image" else None
            if not target or str(target).startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = str(target).partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.is_relative_to(CHECKOUT) or not file.exists() or (anchor and anchor not in anchors_of(file)):
                wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_of_make_exist_with_their_variables(page):
    wrong = []
    for code in code_of(page):
        for line in code.splitlines():
            for command, rest in re.findall(r"\bmake ([a-z][a-z-]*)((?: [A-Z]+=\S+)*)", line):
                wrong += [] if command in TARGETS else [f"make {command}"]
                wrong += [f"make {command} {name}=" for name in re.findall(r" ([A-Z]+)=", rest) if name not in TAKES.get(command, ())]
    assert wrong == []


def refused(commands):
    """The commands `understudy …` among some lines that name an unknown command or an option that it does not have."""
    wrong = []
    for command, rest in commands:
        word = WORDS.get(command)
        taken = {option_of(item.name, dict(word.names)) for item in read_signature(word.target).parameters} if word else set()
        options = re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest.partition("#")[0])
        if (word is None and command != "completion") or set(options) - taken - {"--json", "--quiet", "--help"}:
            wrong.append(f"understudy {command}{rest}")
    return wrong


COMMAND = r"(?<![\w/-])(?:\.venv/bin/)?understudy ([a-z][a-z-]*)"
STATED = [*PAGES, CHECKOUT / "core/authoring/project/README.md"]


@pytest.mark.parametrize("page", STATED, ids=names(STATED))
def test_commands_of_understudy_exist_with_their_options(page):
    lines = [line.partition("#")[0] for code in code_of(page) for line in code.replace("\\\n", " ").splitlines()]
    assert refused(found for line in lines if "ollama" not in line for found in re.findall(rf"{COMMAND}([^`]*)", line)) == []


def test_commands_that_messages_and_settings_name_exist_with_their_options():
    found = [*CHECKOUT.glob("*"), *(path for folder in FOLDERS if folder != "tests" for path in (CHECKOUT / folder).rglob("*"))]
    files = [path for path in found if path.suffix in (".py", ".yaml", ".j2", ".sh") and path.is_file()]
    texts = [path.read_text(encoding="utf-8") for path in (*files, CHECKOUT / "Makefile", CHECKOUT / ".env.example")]
    assert refused(found for text in texts for found in re.findall(rf"`{COMMAND}([^`\n]*)`", text)) == []


def test_a_misspelt_command_or_option_in_a_page_is_found():
    assert refused([("generate", " --cuont 3"), ("generat", ""), ("generate", " --count 3  # --cuont"), ("chat", " --open")]) == [
        "understudy generate --cuont 3",
        "understudy generat",
    ]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_modules_and_flows_that_are_run_exist(page):
    wrong = []
    for code in code_of(page):
        modules = re.findall(r"-m ((?:flows|tasks|bench)[a-z_.]*)", code)
        wrong += [name for name in modules if not any((CHECKOUT / f"{name.replace('.', '/')}{end}").is_file() for end in (".py", "/__main__.py"))]
        deployed = (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")
        for flow, name in re.findall(r"(?:deployment run|run_and_watch\.sh) '?([a-z]+)/([a-z-]+)", code):
            known = f"- name: {name}\n" in deployed and f"flows.{flow}:{flow}" in deployed
            wrong += [] if known or (flow, name) == ("flow", "deployment") else [f"{flow}/{name}"]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_paths_in_the_checkout_exist(page):
    wrong = []
    for code in code_of(page):
        for path in re.findall(rf"(?<![\w/.])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*<>{{}}…-]+)", code):
            plain = re.split(r"[<{*…]", path)[0].rstrip(".,:")
            file = CHECKOUT / (plain if plain == path.rstrip(".,:") else plain.rpartition("/")[0])
            wrong += [] if file.exists() or "mine" in path else [path]
    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=names(page for page in PAGES if page.name != "CHANGELOG.md"))
def test_settings_that_are_named_exist(page):
    known = {row.name for row in setting_rows(Settings)}
    sections = {name.partition(".")[0] for name in known}
    free = ("models.", "assessment.panel.by_criterion")
    wrong = []
    for code in code_of(page):
        found = re.fullmatch(r"([a-z_]+)\.([a-z_.]+)", code.partition(":")[0].strip())
        if (
            found
            and found[1] in sections
            and not code.startswith(free)
            and f"{found[1]}.{found[2]}" not in known
            and not code.endswith((".py", ".yaml", ".json", ".md"))
        ):
            wrong.append(code)
    assert wrong == []


def test_variables_are_read_somewhere_and_those_that_are_read_are_documented():
    reported = set(re.findall(r"^(\w+)=", (CHECKOUT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bUNDERSTUDY_[A-Z_]+", text_of(page))}
    read = set(re.findall(r"\bUNDERSTUDY_[A-Z_]+", SOURCES))
    assert named - read == set()
    assert {name for name in read if not name.startswith("UNDERSTUDY_TEST")} - reported - {"UNDERSTUDY_CLAUDE"} == set()


GENERATED = ("configuration.md", "rubric.md")
PROSE = [page for page in PAGES if page.name not in GENERATED]


@pytest.mark.parametrize("page", PROSE, ids=names(PROSE))
def test_prose_wraps_at_100_characters(page):
    lines = text_of(page).splitlines()
    paragraphs = [token.map for token in MarkdownIt("commonmark").enable("table").parse(text_of(page)) if token.type == "paragraph_open" and token.map]
    assert [line for start, end in paragraphs for line in lines[start:end] if len(line) > 100 and not line.startswith("![")] == []


def test_llama_server_gets_the_context_of_the_training_that_the_readme_shows():
    texts = [path.read_text(encoding="utf-8") for path in (CHECKOUT / "README.md", CHECKOUT / "docs/training.md")]
    training = re.search(r"^training: (\S+)", texts[0], re.MULTILINE)
    assert training
    context = load_training(training[1], CHECKOUT).train["max-length"]
    figures = [re.findall(r"llama-server .*-c (\d+)", text) for text in texts]
    assert all(figures)
    assert {figure for found in figures for figure in found} == {str(context)}


def test_the_readme_is_under_900_words_and_its_first_command_is_on_the_first_screen():
    text = text_of(CHECKOUT / "README.md")
    assert len(text.split()) < 900
    assert text.index("make demo") < text.index("## ")
    assert text.count("\n", 0, text.index("make demo")) < 20


def test_python_in_the_docs_is_python():
    for page in PAGES:
        for token in MarkdownIt("commonmark").parse(text_of(page)):
            if token.type == "fence" and token.info.strip() == "python":
                ast.parse(token.content)
    assert Path(PAGES[0]).exists()


SKILLS = sorted((CHECKOUT / ".claude/skills").glob("*/SKILL.md"))


@pytest.mark.parametrize("skill", SKILLS, ids=[skill.parent.name for skill in SKILLS])
def test_a_skill_says_when_it_is_used_and_has_gates_and_flows_that_exist(skill):
    front, text = read_front_matter(skill)
    assert front["name"] == skill.parent.name
    assert "Use when" in front["description"]
    assert len(front["description"]) <= 1024
    assert text.count("**Gate ") >= 3
    for beside in skill.parent.glob("*.md"):
        for flow in re.findall(r"^\| `make [a-z-]+` \| `([a-z]+)` \|", text_of(beside), re.MULTILINE):
            assert (CHECKOUT / f"flows/{flow}.py").is_file(), flow
