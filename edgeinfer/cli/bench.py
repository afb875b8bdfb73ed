"""`edgeinfer bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.options import with_settings

if TYPE_CHECKING:
    from edgeinfer.plan import Plan
    from edgeinfer.settings import Settings

PROMPT, ANSWER, SHORT = 512, 128, 32

Line = tuple[str, str]


@with_settings
def bench(
    flags: dict[str, Any],
    *,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure the machine rather than a model, and plan with that."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures for a program.")] = False,
) -> None:
    """Measure how fast a model is here, without a daemon; or what the machine can do.

    Nothing else should run meanwhile; a daemon that answers would share the cores.

    Examples:
      edgeinfer bench --model qwen3-0.6b    tokens a second of a model
      edgeinfer bench --calibrate           half a minute, after which `edgeinfer plan` knows this machine
    """
    import msgspec

    from edgeinfer import settings
    from edgeinfer.cli import terminal

    loaded = settings.load(flags).settings
    data, lines = _machine(loaded) if calibrate else _model(loaded)
    if json:
        terminal.write(msgspec.json.format(msgspec.json.encode(data)).decode() + "\n")
    else:
        terminal.write("".join(f"{label:<12}{text}\n" for label, text in lines))


def _machine(settings: Settings) -> tuple[Any, list[Line]]:
    import asyncio

    from edgeinfer.bench.calibrate import calibrate
    from edgeinfer.cli import terminal
    from edgeinfer.hardware import detect
    from edgeinfer.plan.calibration import save
    from edgeinfer.store.store import Store

    store = Store.of(settings)
    found = asyncio.run(calibrate(detect(models=store.root), terminal.remark))
    save(store.root, found)
    lines = []
    for name, rates in (("CPU", found.cpu), ("GPU", found.gpu)):
        for kind, rate in rates.decode.items() if rates else ():
            lines.append((f"{name} {kind}", f"{rate / 1e9:.1f} GB/s"))
    lines += [(f"{count} threads", f"{rate:.1f} tok/s") for count, rate in found.threads.items()]
    return found, [line for line in lines if line[0].strip() not in ("CPU", "GPU")]


def _model(settings: Settings) -> tuple[Any, list[Line]]:
    import asyncio

    from edgeinfer.cli import terminal
    from edgeinfer.plan import make_plan

    plan = make_plan(settings)
    terminal.remark(f"{plan.config.name}: reading {PROMPT} tokens, writing {ANSWER}, twice …")
    figures = asyncio.run(_measure(plan))
    predicted = plan.speed.decode
    lines = [
        ("reading", f"{figures['prompt_rate']:.1f} tok/s"),
        (
            "writing",
            f"{figures['answer_rate']:.1f} tok/s" + (f", predicted {predicted:.1f}" if predicted else ""),
        ),
        (f"{plan.config.parallel} at once", f"{figures['together_rate']:.1f} tok/s in sum"),
    ]
    return {"model": plan.config.name, "predicted_rate": predicted, **figures}, lines


async def _measure(plan: Plan) -> dict[str, float]:
    """Tokens a second: the better of two rounds, as what else the machine does can only slow it down."""
    from edgeinfer.bench.measure import bench

    prompt, answer = (min(wanted, plan.config.ctx // 4) for wanted in (PROMPT, ANSWER))
    async with bench(plan.config) as worker:
        await worker.measure(16, 4)
        rounds = [await worker.measure(prompt, answer) for _ in range(2)]
        together = await worker.together(plan.config.parallel, min(SHORT, prompt), answer)
    return {
        "prompt_rate": max(r.prompt_rate for r in rounds),
        "answer_rate": max(r.answer_rate for r in rounds),
        "together_rate": together,
    }
