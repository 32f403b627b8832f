"""`segue serve SERVICE`: the table of services."""

from collections.abc import Callable

import typer

from segue.cli import serve_all, serve_decoder, serve_encoder, serve_predictor, serve_studio

app = typer.Typer(no_args_is_help=True, help="Serve over HTTP: encoder, decoder, predictor, studio.")

# A service is one file, one line here, and its port in segue.serving.server.PORTS.
SERVICES: dict[str, Callable[..., None]] = {
    "encoder": serve_encoder.encoder,
    "decoder": serve_decoder.decoder,
    "predictor": serve_predictor.predictor,
    "studio": serve_studio.studio,
    "all": serve_all.all_services,
}
for name, command in SERVICES.items():
    app.command(name)(command)
