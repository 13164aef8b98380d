"""`leadline ui`: depth from photographs in the browser."""

from __future__ import annotations

import webbrowser

import click

from leadline.cli.names import present_models


@click.command()
@click.option("-m", "--model", "models", multiple=True, shell_complete=present_models, help="As for `leadline serve`.")
@click.option("--device", default="auto", show_default=True, help="As for `leadline serve`.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--no-browser", is_flag=True, help="Only say the address.")
def command(models: tuple[str, ...], device: str, port: int, no_browser: bool) -> None:
    """A page to drop photographs on: depth, uncertainty, the scene in 3D, and all files. Only this computer can see it.

    Ends with Ctrl+C. `leadline serve --http` has the same page with keys and for other computers.
    """
    from leadline.cli.serve import DEFAULT_LOADER, need_http, to_serve
    from leadline.serving.logs import configure
    from leadline.serving.protocol.settings import ServerConfig
    from leadline.serving.server.run import serve

    need_http()
    configure("text", "warning")
    served = to_serve(models, DEFAULT_LOADER)
    config = ServerConfig(
        "tcp://127.0.0.1:*", served, device=device, http_port=port, log_style="text", log_level="warning"
    )

    def tell(_: str, address: str | None) -> None:
        click.echo(f"leadline: {address} (Ctrl+C ends it)", err=True)
        if not no_browser and address is not None:
            webbrowser.open(address)

    serve(config, tell)
