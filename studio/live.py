"""Live pages: runs, conversations and verdicts as they arrive. A small script reloads the page and replaces what has changed."""

import time
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.views.live import card_of_speaking, judging, open_speaking, running, speaking, steering_notes
from studio.pages import page, store_of


def live(request: Request) -> Response:
    """Show running work, and conversations and verdicts in progress."""
    store, now = store_of(request), time.time()
    return page(request, "live", running=running(store, now), speaking=speaking(store, now), judging=judging(store))


def live_conversation(request: Request) -> Response:
    """Show a conversation in progress; redirect to its permanent page once it has ended."""
    store, name = store_of(request), request.path_params["name"]
    it = open_speaking(store, name, time.time())
    if it is None:
        paths = [f"{folder}/{name}.json" for folder in store.names("transcripts")]
        if existing := sorted(store.states(paths)):
            return RedirectResponse(f"/conversations/{quote(existing[0])}", 303)
        raise HTTPException(404)
    card, _ = card_of_speaking(it)
    return page(request, "live_conversation", it=it, card=card, notes=steering_notes(store, it))


routes = [Route("/live", live), Route("/live/{name}", live_conversation)]
