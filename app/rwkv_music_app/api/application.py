"""The API as an application of its own, for a server to have at /api."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

import rwkv_music
from rwkv_music_app.api.files import files
from rwkv_music_app.api.metrics import Metrics, metrics_route
from rwkv_music_app.api.pieces import pieces
from rwkv_music_app.api.refusals import add_refusals, refused
from rwkv_music_app.api.routes import VERSION
from rwkv_music_app.api.takes import takes
from rwkv_music_app.studio import Studio

# FastAPI's own page of the routes comes from elsewhere.
PAGE = Path(__file__).with_name("docs.html")
ABOUT = """Make music with RWKV models: begin a piece, go on with it from any bar, and take it home.

Pieces belong to whoever began them: to a browser's cookie, or to 64 random hexadecimal digits in the header
`X-RWKV-Music-Owner`, which is all that says who one is."""


class Health(BaseModel):
    """The studio is there."""

    status: str
    version: str


class ModelTold(BaseModel):
    """A model that is offered."""

    name: str


def make_api(studio: Studio, metrics: Metrics | None = None) -> FastAPI:
    """Everything that programs may ask a studio for; whoever asks is told apart by the gate before it."""
    api = FastAPI(
        title="RWKV Music Studio",
        version=rwkv_music.__version__,
        description=ABOUT,
        openapi_url=f"{VERSION}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    metrics = metrics or Metrics(studio)
    add_refusals(api)
    for router in (pieces(studio), takes(studio, metrics), files(studio), _running(studio), metrics_route(metrics)):
        api.include_router(router)

    @api.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    return api


def _running(studio: Studio) -> APIRouter:
    router = APIRouter(prefix=VERSION, tags=["running"])

    @router.get("/health", responses=refused())
    def health() -> Health:
        """The studio is there, and can be asked."""
        return Health(status="ok", version=rwkv_music.__version__)

    @router.get("/models", responses=refused())
    def models() -> list[ModelTold]:
        """The models to choose from."""
        return [ModelTold(name=name) for name in studio.models.names]

    return router
