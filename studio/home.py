"""Home: what there is, and what needs a person."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from studio.pages import page, store_of


def home(request: Request) -> Response:
    """Show the domains and what was made of late."""
    return page(request, "home", root=store_of(request).root)


routes = [Route("/", home)]
