"""Pages of an evaluation: verdict and next steps, conversations side by side, and pairs for a person to compare."""

from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.judging.labels import check_person
from studio.forms import form_of
from studio.pages import page, store_of

TAGS = {"": "all", "better": "arm better than the base", "worse": "arm worse", "split": "only one passes", "gate": "a failed gate", "lost": "missing"}


def show_evaluation(request: Request) -> Response:
    """Show an evaluation."""
    from core.views.evaluations import evaluation_page

    evaluation, which = evaluation_page(store_of(request), request.path_params["name"]), request.query_params.get("which", "")
    shown = [pair for pair in evaluation.pairs if which not in TAGS or not which or which in pair.tags]
    return page(request, "evaluation", it=evaluation, shown=shown, which=which if which in TAGS else "", tags=TAGS)


def side_by_side(request: Request) -> Response:
    """Show the arms' conversations with one persona side by side."""
    from core.views.evaluations import evaluation_page

    evaluation, parts = evaluation_page(store_of(request), request.path_params["name"]), request.path_params
    place = next((at for at, pair in enumerate(evaluation.pairs) if (pair.persona, pair.trial) == (parts["persona"], parts["trial"])), None)
    if place is None:
        raise HTTPException(404)
    before, after = (evaluation.pairs[at] if 0 <= at < len(evaluation.pairs) else None for at in (place - 1, place + 1))
    rows = max((len(side.conversation.transcript.exchanges) for side in evaluation.pairs[place].sides if side.conversation), default=0)
    return page(request, "evaluation_pair", it=evaluation, pair=evaluation.pairs[place], place=place + 1, before=before, after=after, rows=rows)


async def begin(request: Request) -> Response:
    """Redirect a person to the first pair without an answer."""
    form = await form_of(request)
    return await run_in_threadpool(_begin, request, check_person(form.get("person", "")), form.get("arm", ""), form.get("round", "1"))


def _begin(request: Request, person: str, arm: str, reading: str) -> Response:
    from core.views.evaluations import next_reading

    store, name = store_of(request), request.path_params["name"]
    number = next_reading(store, name, arm, person, second=reading == "2")
    return RedirectResponse(_address(name, arm, person, number) if number else _result(name, arm, person), 303)


def pair(request: Request) -> Response:
    """Show two conversations as A and B, without the names of their arms."""
    from core.views.evaluations import prefer_page

    (name, arm, person), number = _named(request), request.path_params["number"]
    try:
        return page(request, "prefer", it=prefer_page(store_of(request), name, arm, person, max(1, number)))
    except IndexError as beyond:
        raise HTTPException(404) from beyond


async def answer(request: Request) -> Response:
    """Store which conversation a person prefers, and show the next pair."""
    form = await form_of(request)
    return await run_in_threadpool(_answer, request, form)


def _answer(request: Request, form: dict[str, str]) -> Response:
    from core.evaluation.person_preferences import prefer
    from core.views.evaluations import next_reading, prefer_page

    (name, arm, person), number, store = _named(request), request.path_params["number"], store_of(request)
    try:
        current = prefer_page(store, name, arm, person, max(1, number))
    except IndexError as beyond:
        raise HTTPException(404) from beyond
    prefer(store, f"evaluations/{name}", arm, person, current.reading, form.get("better", ""), form.get("reason", ""))
    following = next_reading(store, name, arm, person, number)
    return RedirectResponse(_address(name, arm, person, following) if following else _result(name, arm, person), 303)


def result(request: Request) -> Response:
    """Show the result of a person's preferences, including which conversation was of which arm."""
    from core.views.evaluations import notes_of, people_preferences, people_sentence, read_evaluation

    (name, arm, person), store = _named(request), store_of(request)
    record, _ = read_evaluation(store, name)
    results = [
        (who, people_sentence(preferences, arm), notes_of(preferences, record.comparison.base, arm))
        for who, preferences in people_preferences(store, record, f"evaluations/{name}", arm)
    ]
    return page(request, "preferred", name=name, arm=arm, base=record.comparison.base, person=person, found=results)


def _named(request: Request) -> tuple[str, str, str]:
    parts = request.path_params
    return parts["name"], parts["arm"], check_person(parts["person"])


def _address(name: str, arm: str, person: str, number: int) -> str:
    return f"/evaluations/{quote(name, safe='')}/prefer/{quote(arm, safe='')}/by/{quote(person, safe='')}/{number}"


def _result(name: str, arm: str, person: str) -> str:
    return f"/evaluations/{quote(name, safe='')}/preferred/{quote(arm, safe='')}/by/{quote(person, safe='')}"


routes = [
    Route("/evaluations/{name}", show_evaluation),
    Route("/evaluations/{name}/pairs/{persona:number}/{trial:number}", side_by_side),
    Route("/evaluations/{name}/prefer", begin, methods=["POST"]),
    Route("/evaluations/{name}/prefer/{arm}/by/{person}/{number:number}", pair),
    Route("/evaluations/{name}/prefer/{arm}/by/{person}/{number:number}", answer, methods=["POST"]),
    Route("/evaluations/{name}/preferred/{arm}/by/{person}", result),
]
