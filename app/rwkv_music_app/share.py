"""A public link to the studio, through a server of Gradio's to which this machine keeps a tunnel."""

import secrets

from rwkv_music.errors import UserError

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def share(host: str, port: int) -> str:
    """The https address of a tunnel to where the studio answers. Raises UserError where there is none to be had."""
    # Only here: it takes seconds.
    from gradio.networking import setup_tunnel

    try:
        # Gradio's program for the tunnel is fetched once, and its hash compared.
        link = setup_tunnel(ANYWHERE.get(host, host), port, secrets.token_urlsafe(32), None, None)
    except Exception as error:
        # Whatever a foreign network, server and program may do.
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(f"--share: no link can be had ({reason}): leave it out, or look after the network") from None
    return link.replace("http://", "https://", 1)
