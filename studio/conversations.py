"""The page of a conversation: persona, transcript, judgements, and links to its neighbours in the batch."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import StoreError
from core.views.conversations import neighbours, open_conversation
from studio.batches import neighbours_in
from studio.pages import number_of, page, query_of, store_of


def show_conversation(request: Request) -> Response:
    """Show a conversation; within a batch, with links to the previous and next one among the rows that match the batch's filters."""
    path, batch = request.path_params["path"], request.query_params.get("batch")
    opened = open_conversation(store_of(request), path, batch, request.query_params.get("assessment"))
    before, after, place, of = None, None, 0, 0
    if batch:
        try:
            before, after, place, of = neighbours([row.path for row in neighbours_in(request, batch)], path)
        except StoreError:  # the batch was removed, but the conversation still exists
            batch = None
    judge = number_of(request, "judge", 0, max(0, len(opened.judgements) - 1), first=0)
    return page(
        request,
        "conversation",
        it=opened,
        batch=batch,
        before=before,
        after=after,
        place=place,
        of=of,
        judge=judge,
        judgement=opened.judgements[judge] if opened.judgements else None,
        text=request.query_params.get("text", "")[:500],
        as_written=request.query_params.get("as_written") == "1",
        keep=query_of(request, without=("judge", "as_written")),
        keep_list=query_of(request, without=("judge", "as_written", "batch")),
    )


routes = [Route("/conversations/{path:path}", show_conversation)]
