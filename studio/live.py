"""Live: runs, conversations and verdicts as they come. A small script asks for the page again and puts in what has changed."""

import time
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.views.live import card_of_speaking, judging, open_speaking, running, speaking, steering_notes
from studio.pages import page, store_of


def live(request: Request) -> Response:
    """Show what is being made."""
    store, now = store_of(request), time.time()
    return page(request, "live", running=running(store, now), speaking=speaking(store, now), judging=judging(store))


def live_conversation(request: Request) -> Response:
    """Show a conversation as far as it is; once it has ended, its lasting page."""
    store, name = store_of(request), request.path_params["name"]
    it = open_speaking(store, name, time.time())
    if it is None:
        places = [f"{folder}/{name}.json" for folder in store.names("transcripts")]
        if made := sorted(store.states(places)):
            return RedirectResponse(f"/conversations/{quote(made[0])}", 303)
        raise HTTPException(404)
    card, _ = card_of_speaking(it)
    return page(request, "live_conversation", it=it, card=card, notes=steering_notes(store, it))


routes = [Route("/live", live), Route("/live/{name}", live_conversation)]
