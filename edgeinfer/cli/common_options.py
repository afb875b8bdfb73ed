"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str | None, typer.Option(help="Address of another daemon. Default: this machine's.")]
ApiKey = Annotated[str | None, typer.Option(help="API key, if EDGEINFER_API_KEY does not hold it.")]
NoHistory = Annotated[
    bool,
    typer.Option("--no-history", help="Keep no prompt of this conversation; EDGEINFER_HISTORY=off: of none."),
]
