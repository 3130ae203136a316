"""A conversation: its persona, what was said, what was held of it, and the way to the next one."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import StoreError
from core.views.conversations import neighbours, open_conversation
from studio.batches import neighbours_in
from studio.pages import number_of, page, query_of, store_of


def show_conversation(request: Request) -> Response:
    """Show a conversation; within a batch, also the way to the one before and after, by the filters that are set there."""
    path, batch = request.path_params["path"], request.query_params.get("batch")
    found = open_conversation(store_of(request), path, batch, request.query_params.get("assessment"))
    before, after, place, of = None, None, 0, 0
    if batch:
        try:
            before, after, place, of = neighbours([row.path for row in neighbours_in(request, batch)], path)
        except StoreError:  # the batch was removed, the conversation is still there
            batch = None
    judge = number_of(request, "judge", 0, max(0, len(found.judgements) - 1), first=0)
    return page(
        request,
        "conversation",
        it=found,
        batch=batch,
        before=before,
        after=after,
        place=place,
        of=of,
        judge=judge,
        judgement=found.judgements[judge] if found.judgements else None,
        text=request.query_params.get("text", "")[:500],
        as_written=request.query_params.get("as_written") == "1",
        keep=query_of(request, without=("judge", "as_written")),
        keep_list=query_of(request, without=("judge", "as_written", "batch")),
    )


routes = [Route("/conversations/{path:path}", show_conversation)]
