"""Pages of a batch of assessments: browse, search, export."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from core.escaping import spreadsheet_cell
from core.judging.page import assessment_page
from core.judging.plan import read_judged
from core.records import Assessment, AssessmentBatch, Transcript
from core.views.batch_figures import figures_of, traits_in
from core.views.batches import Batch, Row, batch_path, open_batch
from core.views.choosing import ANSWERS, ORDERS, OUTCOMES, Wanted, chosen, excerpt, view_of, wanted_of
from studio.pages import number_of, page, query_of, store_of

ROWS = 50
"""Number of rows on a page."""


def show_batch(request: Request) -> Response:
    """Show a batch: the rows that match the filters, and their figures."""
    batch, wanted = _asked(request)
    rows = chosen(batch, wanted)
    at = number_of(request, "page", 1, max(1, -(-len(rows) // ROWS)))
    shown = rows[(at - 1) * ROWS : at * ROWS]
    return page(
        request,
        "batch",
        batch=batch,
        wanted=wanted,
        rows=[(row, view_of(row, wanted.view), excerpt(row, wanted.text) if wanted.text else "") for row in shown],
        found=len(rows),
        at=at,
        pages=max(1, -(-len(rows) // ROWS)),
        figures=figures_of(batch, rows, wanted.view),
        traits=traits_in(batch),
        outcomes=OUTCOMES,
        answers=ANSWERS,
        orders=ORDERS,
        keep=query_of(request, without=("page",)),
    )


def export_csv(request: Request) -> Response:
    """Return the rows that match the filters as a CSV table."""
    batch, wanted = _asked(request)
    rows = chosen(batch, wanted)
    criteria = sorted({name for row in batch.rows for result in row.results if result for name in result.answers})
    dimensions = sorted({name for row in batch.rows for name in row.traits})
    head = ["id", "persona", "path", "outcome", "score", "exchanges", "failed_gates", "failed_checks", "errors"]
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow([*head, *criteria, *(f"persona.{name}" for name in dimensions)])
    for row in rows:
        result = view_of(row, wanted.view)
        verdict = (
            [result.outcome, "" if result.score is None else round(result.score, 4), row.exchanges, *map(" ".join, (result.failed_gates, result.failed_checks))]
            if result
            else ["", "", row.exchanges, "", ""]
        )
        answers = [result.answers.get(name, "") if result else "" for name in criteria]
        traits = [", ".join(row.traits.get(name, ())) for name in dimensions]
        table.writerow([_cell(value) for value in (row.id, row.name, row.path, *verdict, result.errors if result else "", *answers, *traits)])
    return _download(file.getvalue().encode(), f"{batch.name}.csv", "text/csv; charset=utf-8")


def export_lines(request: Request) -> Response:
    """Return the rows that match the filters with transcripts and assessments, one JSON object per line."""
    batch, wanted = _asked(request)
    store, rows = store_of(request), chosen(batch, wanted)

    def lines() -> Iterator[bytes]:
        for row in rows:
            assessment = store.load(row.assessment, Assessment).model_dump(mode="json") if row.result else None
            transcript = store.load(row.path, Transcript).model_dump(mode="json")
            yield json.dumps({"path": row.path, "transcript": transcript, "assessment": assessment}).encode() + b"\n"

    headers = {"content-disposition": f'attachment; filename="{batch.name}.jsonl"'}
    return StreamingResponse(lines(), media_type="application/jsonl", headers=headers)


def export_page(request: Request) -> Response:
    """Return the complete batch as one HTML file that can be read without a server."""
    store, batch = store_of(request), _asked(request)[0]
    if batch.pack is None or not batch.by:
        raise HTTPException(404)
    judged = read_judged(store, store.load(batch_path(batch.name), AssessmentBatch))
    return _download(assessment_page(batch.pack, judged, "").encode(), f"{batch.name}.html", "text/html; charset=utf-8")


def _cell(value: Any) -> Any:
    return spreadsheet_cell(value) if isinstance(value, str) and value else value


def _download(data: bytes, name: str, kind: str) -> Response:
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def _asked(request: Request) -> tuple[Batch, Wanted]:
    query: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        query.setdefault(name, []).append(value)
    return open_batch(store_of(request), request.path_params["name"]), wanted_of(query)


def neighbours_in(request: Request, name: str) -> list[Row]:
    """Return the rows of a batch that match the filters in the address; a conversation's page leads to its neighbours among them."""
    query: dict[str, list[str]] = {}
    for key, value in request.query_params.multi_items():
        query.setdefault(key, []).append(value)
    return chosen(open_batch(store_of(request), name), wanted_of(query))


routes = [
    Route("/batches/{name}", show_batch),
    Route("/batches/{name}/rows.csv", export_csv),
    Route("/batches/{name}/rows.jsonl", export_lines),
    Route("/batches/{name}/page.html", export_page),
]
