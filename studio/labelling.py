"""Label pages: samples that several people label, a conversation next to its criteria, and the agreement of people and judge."""

from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from core.errors import ReviewError
from core.judging.filled_sheet import read_sheets
from core.judging.labels import Given, PersonLabels, check_person, give, labels_of, people, read_sample, take_labels, undo
from core.judging.review_sheet import write_rows
from core.packs.pack import Pack, load_pack
from studio.forms import body_of, form_of, whole_number
from studio.pages import page, store_of

MAX_SAMPLE = 1_000
"""Maximum number of conversations in a sample."""
MAX_SHEET = 8_000_000
"""Maximum size of a sheet in bytes."""


def overview(request: Request) -> Response:
    """Show the samples, their people, and the sources of a new sample."""
    from core.judging.review import SAMPLE
    from core.views.labelling import label_sources, sample_rows

    store = store_of(request)
    return page(request, "labels", rows=sample_rows(store), sources=label_sources(store), size=SAMPLE)


async def draw(request: Request) -> Response:
    """Draw a sample."""
    form = await form_of(request)
    return await run_in_threadpool(_draw, request, form)


def _draw(request: Request, form: dict[str, str]) -> Response:
    from core.reports.review_files import make_sample

    domain, _, source = form.get("source", "").partition(" ")
    size = whole_number(form.get("size", ""), 1, MAX_SAMPLE)
    return RedirectResponse(f"/labels/{quote(make_sample(store_of(request), load_pack(domain), source, size), safe='')}", 303)


def sample(request: Request) -> Response:
    """Show a sample: its people, their progress, and a form to start labelling."""
    from core.views.labelling import of_old_rubric, sample_row

    row = sample_row(store_of(request), request.path_params["name"])
    return page(request, "label_sample", row=row, old=of_old_rubric(row.sample, load_pack(row.sample.domain)))


async def begin(request: Request) -> Response:
    """Redirect a person to their first conversation with missing answers."""
    form = await form_of(request)
    return await run_in_threadpool(_begin, request, form.get("person", ""))


def _begin(request: Request, text: str) -> Response:
    from core.views.labelling import first_open

    store, name, person = store_of(request), request.path_params["name"], check_person(text)
    number = first_open(store, _pack(request), name, person)
    return RedirectResponse(_address(name, person, number), 303)


def conversation(request: Request) -> Response:
    """Show a conversation to label."""
    from core.views.labelling import label_page

    name, person, number = _named(request)
    return page(request, "label", label=label_page(store_of(request), _pack(request), name, person, number))


async def answer(request: Request) -> Response:
    """Store an answer or a reason; it is on disk before this returns."""
    form = await form_of(request)
    return await run_in_threadpool(_answer, request, form)


def _answer(request: Request, form: dict[str, str]) -> Response:
    (name, person, number), pack = _named(request), _pack(request)
    criterion = pack.rubric.criteria.get(form.get("criterion", ""))
    if criterion is None or form.get("answer", "") not in ("", "YES", "NO", "NA"):
        raise ReviewError(f"{form.get('criterion', '')[:20]!r} and {form.get('answer', '')[:20]!r} are not a criterion and an answer. Reload the page.")
    given = Given.model_validate({"answer": form.get("answer") or None, "reason": form.get("reason", "")})
    return _labels_response(request, give(store_of(request), name, person, number, criterion, given))


def take_back(request: Request) -> Response:
    """Undo a person's last answer."""
    name, person, number = _named(request)
    return _labels_response(request, undo(store_of(request), name, person, number))


def _labels_response(request: Request, labels: PersonLabels) -> Response:
    """Return the person's labels to a script, or redirect a form to the page."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"given": {key: label.model_dump() for key, label in labels.given.items()}})
    return RedirectResponse(_address(*_named(request)), 303)


def learnt(request: Request) -> Response:
    """Show how people and judge agree. Ask for confirmation first if somebody has not finished, because the page reveals the judge's answers."""
    from core.views.labelling import sample_row, unfinished

    name, store = request.path_params["name"], store_of(request)
    row, query = sample_row(store, name), request.query_params
    if unfinished(row) and "anyway" not in query:
        return page(request, "learnt_early", row=row, unfinished=unfinished(row), you=query.get("person", ""))
    from core.views.learnt import learnt_page

    lessons = learnt_page(store, load_pack(row.sample.domain), name, query.get("person", ""))
    return page(request, "learnt", row=row, found=lessons, made=query.get("made", ""))


async def golden(request: Request) -> Response:
    """Make a golden conversation from a person's labels."""
    form = await form_of(request)
    return await run_in_threadpool(_golden, request, form)


def _golden(request: Request, form: dict[str, str]) -> Response:
    from core.views.learnt import make_golden

    store, name, person = store_of(request), request.path_params["name"], form.get("person", "")
    number = whole_number(form.get("number", ""), 1, len(read_sample(store, name).transcripts))
    path = make_golden(store, _pack(request), name, person, number)
    return RedirectResponse(f"/labels/{quote(name, safe='')}/learnt?anyway=1&person={quote(person)}&made={quote(path)}#golden", 303)


def sheet(request: Request) -> Response:
    """Return the labels of all people as CSV."""
    store, name = store_of(request), request.path_params["name"]
    drawn, rubric = read_sample(store, name), _pack(request).rubric
    rows = list(zip(drawn.transcripts, drawn.lengths, strict=True))
    text = write_rows(rows, rubric, "the studio", {person: labels_of(store, name, person, rubric) for person in people(store, name)})
    return Response(text, media_type="text/csv; charset=utf-8", headers={"content-disposition": f'attachment; filename="labels-{quote(name)}.csv"'})


async def take_sheet(request: Request) -> Response:
    """Store the labels of a sheet that somebody filled in elsewhere."""
    data = await body_of(request, MAX_SHEET)
    return await run_in_threadpool(_take_sheet, request, data)


def _take_sheet(request: Request, data: bytes) -> Response:
    from core.reports.review_files import text_of

    store, name, rubric = store_of(request), request.path_params["name"], _pack(request).rubric
    drawn, taken = read_sample(store, name), dict[str, int]()
    for person, labels in read_sheets(text_of(data), dict(zip(drawn.transcripts, drawn.lengths, strict=True)), rubric).items():
        who = check_person(person or request.query_params.get("person", ""))
        taken[who] = take_labels(store, name, who, labels, rubric)
    return JSONResponse({"said": "; ".join(f"{count} labels of {person}" for person, count in taken.items()) + " were stored."})


def _pack(request: Request) -> Pack:
    return load_pack(read_sample(store_of(request), request.path_params["name"]).domain)


def _named(request: Request) -> tuple[str, str, int]:
    parts = request.path_params
    drawn = read_sample(store_of(request), parts["name"])
    if not 1 <= parts["number"] <= len(drawn.transcripts):
        raise HTTPException(404)
    return parts["name"], check_person(parts["person"]), parts["number"]


def _address(name: str, person: str, number: int) -> str:
    return f"/labels/{quote(name, safe='')}/by/{quote(person, safe='')}/{number}"


routes = [
    Route("/labels", overview),
    Route("/labels", draw, methods=["POST"]),
    Route("/labels/{name}", sample),
    Route("/labels/{name}/begin", begin, methods=["POST"]),
    Route("/labels/{name}/sheet.csv", sheet),
    Route("/labels/{name}/sheet.csv", take_sheet, methods=["POST"]),
    Route("/labels/{name}/learnt", learnt),
    Route("/labels/{name}/golden", golden, methods=["POST"]),
    Route("/labels/{name}/by/{person}/{number:number}", conversation),
    Route("/labels/{name}/by/{person}/{number:number}", answer, methods=["POST"]),
    Route("/labels/{name}/by/{person}/{number:number}/undo", take_back, methods=["POST"]),
]
