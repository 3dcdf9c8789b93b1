"""Open the studio, a page in the browser where music appears while it is being made; it runs until Ctrl-C.

It answers on this machine only, unless --host says otherwise.
"""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number
from rwkv_music.commands.options import DTYPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    where = parser.add_argument_group("where")
    add_where(where, 7860)
    where.add_argument(
        "--share",
        action="store_true",
        help="ask Gradio's server for a public https link to this studio; needs --auth, and a network",
    )
    where.add_argument(
        "--mcp", action="store_true", help="offer composing as tools to assistants over MCP, at /gradio_api/mcp/"
    )
    where.add_argument("--open", action="store_true", help="show the page in the browser")
    where.add_argument("--folder", type=Path, help="where pieces are kept (default: the user's data folder)")
    what = parser.add_argument_group("what")
    add_what(what)
    what.add_argument("--soundfont", type=Path, metavar="FILE", help="instruments of the page, an .sf2 file")


def add_where(where: argparse._ArgumentGroup, port: int) -> None:
    """Where a server listens, on that port if nothing else is said, and to whom."""
    where.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to answer at; 0.0.0.0 opens it to everybody who can reach this machine (default: 127.0.0.1)",
    )
    where.add_argument(
        "--port", type=number(0, 65535), default=port, help=f"port (default: {port}; 0 takes a free one)"
    )
    where.add_argument("--auth", metavar="USER:PASSWORD", help="ask everybody for these before anything else")


def add_what(what: argparse._ArgumentGroup) -> None:
    """The models, and with what they compute."""
    what.add_argument(
        "-m", "--model", action="append", help="offer another model besides the embedded ones; may be repeated"
    )
    what.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    what.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help=f"of the weights (default: {DTYPES[0]})")
    what.add_argument("--rows", type=number(1, 256), default=16, help="takes that grow at the same time (default: 16)")
    what.add_argument(
        "--threads", type=number(1, 1024), help="threads to compute with (default: as the models suggest)"
    )
