"""The web app as files: built from `web/` by `make web`, never committed."""

from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).with_name("page")
UNBUILT = "the page is not built; run `make web` in the source tree (the API works without it)"


def is_built() -> bool:
    """Whether there is a page to show."""
    return (PAGE / "index.html").exists()


class PageFiles(StaticFiles):
    """The page's files; a browser that opens a place within the page (`/chat/...`) gets the page itself."""

    def __init__(self) -> None:
        super().__init__(directory=PAGE, html=True, check_dir=False)

    async def check_config(self) -> None:
        """A page that is not built is no fault of the server's: nothing is found then."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; what has its digest in its name may be kept for ever."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or "text/html" not in Headers(scope=scope).get("accept", ""):
                raise
            if not is_built():
                raise HTTPException(404, UNBUILT) from None
            return await super().get_response("index.html", scope)
        if path.startswith("assets/"):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
