"""Parses a page into elements, attributes, links and words."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img", "rect"}


@dataclass
class Read(HTMLParser):
    """The content of a page."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += " "
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag and all(attributes.get(key) == value for key, value in wanted.items())]

    @property
    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.all("a") if "href" in attributes]


def read(html: str) -> Read:
    page = Read()
    page.feed(html)
    page.close()
    return page
