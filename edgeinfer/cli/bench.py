"""`edgeinfer bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli import option_values
from edgeinfer.cli.options import with_model_settings

if TYPE_CHECKING:
    from edgeinfer.plan import Plan
    from edgeinfer.plan.benchmarks import BenchmarkResult
    from edgeinfer.settings import Settings

PROMPT_TOKENS, ANSWER_TOKENS, SHORT_PROMPT_TOKENS = 512, 128, 32

MAX_DEVIATION = 1.5
"""Ratio of the measured to the predicted speed, either way, beyond which the prediction needs a new measurement."""

SCENARIOS = ("single", "concurrent", "prefill", "shared", "conversation", "structured", "predicted")
"""What servers are measured at, unless scenarios are named."""

MORE_SCENARIOS = ("free", "turns", "long", "mixed")

ROUNDS = 6
"""The fewest from which an interval of 95 % follows."""

Line = tuple[str, str]


@with_model_settings
def bench(
    flags: dict[str, Any],
    *,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Measure the machine, or with --model which settings are fastest for that model; later plans use the "
            "result.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the results, into an .svg or (with Pillow) a .png."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Compare this machine's daemon, or the server at --url, with any server of OpenAI's API.",
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Measure this server, by what its clients see.")] = None,
    api_key: Annotated[
        str | None, typer.Option(help="API key of --url, if EDGEINFER_API_KEY does not hold it.")
    ] = None,
    against_key: Annotated[
        str | None, typer.Option(help="API key of --against, if EDGEINFER_AGAINST_KEY does not hold it.")
    ] = None,
    against_model: Annotated[str | None, typer.Option(help="Model of --against, if it has several.")] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            **{**option_values.choice((*SCENARIOS, *MORE_SCENARIOS)), "metavar": "NAME"},
            help=f"Measure servers only at this; repeat it for more. {', '.join(SCENARIOS)}; "
            f"or {', '.join(MORE_SCENARIOS)}.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            **option_values.number(int, ge=1, le=1000),
            help=f"Rounds of measuring servers. Default: {ROUNDS}.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Ask servers for little: to see whether all works.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure the speed of a model, of this machine, or of servers.

    A model is measured without a daemon. Nothing else should run meanwhile: it would share the cores.

    With --against, this machine's daemon and another server take turns. If no daemon is running, one is
    started, and its time to ready measured. Their prompts are the same, and in no cache.

    Examples:
      edgeinfer bench --model qwen3-0.6b  tokens per second of a model
      edgeinfer bench --plot speed.svg    and a picture of them
      edgeinfer bench --calibrate         the machine, in half a minute
      edgeinfer bench --calibrate --model qwen3-0.6b
      edgeinfer bench --against http://127.0.0.1:8080
      edgeinfer bench --url http://pi5.local:11435 --scenario single
    """
    from edgeinfer import settings
    from edgeinfer.cli import terminal

    if against or url:
        if calibrate or plot:
            raise typer.BadParameter("--calibrate and --plot go with neither --url nor --against")
        if others := [name for name in flags if name != "model"]:
            raise typer.BadParameter(
                f"a server has its own settings; set {', '.join(others)} where it is started"
            )
        from edgeinfer.cli.bench_servers import ServersToBench, bench_servers

        model, names = flags.get("model"), scenario or SCENARIOS
        bench_servers(
            ServersToBench(
                url, api_key, model, against, against_key, against_model, names, rounds or ROUNDS, quick, json
            )
        )
        return
    if api_key or against_key or against_model or scenario or rounds or quick:
        raise typer.BadParameter("these options need --url or --against")
    if plot:
        from edgeinfer.bench.plot import check_plot_file

        check_plot_file(plot)
    loaded = settings.load(flags).settings
    if calibrate and "model" in flags:
        if plot:
            raise typer.BadParameter("--plot draws the machine's calibration, without --model")
        data, lines = _tuning(loaded)
    else:
        data, lines = _machine(loaded) if calibrate else _model(loaded)
    if json:
        terminal.write_json(data)
    else:
        terminal.write("".join(f"{label:<12}{text}\n" for label, text in lines))
    if plot:
        _draw(plot, data, loaded)


def _draw(file: Path, data: Any, settings: Settings) -> None:
    from edgeinfer.bench.plot import plot_calibration, plot_result
    from edgeinfer.cli import terminal
    from edgeinfer.plan.benchmarks import BenchmarkResult, load_results
    from edgeinfer.store.store import Store

    if isinstance(data, BenchmarkResult):
        plot_result(file, data, load_results(Store.of(settings).root))
    else:
        plot_calibration(file, data)
    terminal.say(f"wrote {file}")


def _machine(settings: Settings) -> tuple[Any, list[Line]]:
    import asyncio

    from msgspec.structs import replace

    from edgeinfer.bench.calibrate import calibrate
    from edgeinfer.cli import terminal
    from edgeinfer.hardware import detect
    from edgeinfer.plan.calibration import load, save
    from edgeinfer.store.store import Store

    store = Store.of(settings)
    profile = detect(models=store.root)
    calibration = asyncio.run(calibrate(profile, terminal.show))
    lines = []
    if calibration.disturbed:
        lines.append(("not kept", f"{calibration.disturbed}; run it again when the machine is quiet"))
    else:
        before = load(store.root, profile)
        try:
            save(store.root, replace(calibration, models=before.models if before else {}))
        except OSError as e:
            lines.append(("not kept", f"{e.filename}: {e.strerror}; plans will not use this result"))
    for name, rates in (("CPU", calibration.cpu), ("GPU", calibration.gpu)):
        for kind, rate in rates.decode.items() if rates else ():
            lines.append((f"{name} {kind}", f"{rate / 1e9:.1f} GB/s"))
    lines += [(f"{count} threads", f"{rate:.1f} tok/s") for count, rate in calibration.threads.items()]
    return calibration, [line for line in lines if line[0].strip() not in ("CPU", "GPU")]


def _tuning(settings: Settings) -> tuple[Any, list[Line]]:
    """Measure the machine if that has not been done, then the model's settings."""
    import asyncio

    from msgspec.structs import replace

    from edgeinfer.bench.calibrate import calibrate
    from edgeinfer.bench.tune import tune
    from edgeinfer.cli import terminal
    from edgeinfer.hardware import detect
    from edgeinfer.plan import calibration as calibrations
    from edgeinfer.plan.tuning import model_key, shown
    from edgeinfer.store.lookup import find_model
    from edgeinfer.store.store import Store

    store = Store.of(settings)
    name, own = settings.default_model()
    model = find_model(own.model, store)
    if name is None:
        own = own.for_default(model.name)
    profile = detect(models=store.root)
    known = calibrations.load(store.root, profile)
    calibration = known or asyncio.run(calibrate(profile, terminal.show))
    tuning = asyncio.run(tune(model, profile, own, calibration, terminal.show))
    kept = ", ".join(f"{name} {shown(value)}" for name, value in tuning.changes.items())
    others = "1 other was tried" if tuning.tried == 1 else f"{tuning.tried} others were tried"
    lines = [("fastest", f"{kept or 'the settings that the plan chooses'}; {others}")]
    if kept:
        for name, ratio in tuning.tuned.ratios(tuning.planned).items():
            label = f"{tuning.parallel} answers" if name == "together" else name
            lines.append((label, f"{ratio:.2f} times as fast as with the plan's own settings"))
    if calibration.disturbed:
        return tuning, [
            *lines,
            ("not kept", f"{calibration.disturbed}; run it again when the machine is quiet"),
        ]
    models = {**calibration.models, model_key(model.path, model.header): tuning}
    try:
        calibrations.save(store.root, replace(calibration, models=models))
    except OSError as e:
        lines.append(("not kept", f"{e.filename}: {e.strerror}; plans will not use this result"))
    return tuning, lines


def _model(settings: Settings) -> tuple[Any, list[Line]]:
    import asyncio
    from datetime import datetime, timezone

    from edgeinfer.cli import terminal
    from edgeinfer.plan import make_plan
    from edgeinfer.plan.benchmarks import BenchmarkResult

    plan = make_plan(settings)
    terminal.show(
        f"{plan.config.name}: computing {PROMPT_TOKENS} prompt tokens and generating {ANSWER_TOKENS}, twice …"
    )
    rates = asyncio.run(_measure(plan))
    predicted = plan.speed.decode
    lines = [
        ("prompt", f"{rates['prompt_rate']:.1f} tok/s"),
        (
            "generation",
            f"{rates['answer_rate']:.1f} tok/s" + (f", predicted {predicted:.1f}" if predicted else ""),
        ),
        (f"{plan.config.parallel} answers", f"{rates['together_rate']:.1f} tok/s in total"),
    ]
    if predicted and not 1 / MAX_DEVIATION < rates["answer_rate"] / predicted < MAX_DEVIATION:
        advice = "measure the machine again: edgeinfer bench --calibrate"
        lines.append(("note", f"the prediction is off by more than {MAX_DEVIATION:g} times; {advice}"))
    result = BenchmarkResult(
        plan.config.name,
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        plan.config.parallel,
        **rates,
        predicted_rate=predicted,
    )
    lines += _kept(settings, result)
    return result, lines


def _kept(settings: Settings, result: BenchmarkResult) -> list[Line]:
    """Keep a result for the web page; -> why that is not possible."""
    from edgeinfer.plan.benchmarks import save_result
    from edgeinfer.store.store import Store

    try:
        save_result(Store.of(settings).root, result)
    except OSError as e:
        return [("not kept", f"{e.filename}: {e.strerror}; the web page will not show this result")]
    return []


async def _measure(plan: Plan) -> dict[str, float]:
    """Return tokens per second: the better of two rounds, as other work only slows them down."""
    from edgeinfer.bench.measure import open_benchmark

    prompt, answer = (min(wanted, plan.config.ctx // 4) for wanted in (PROMPT_TOKENS, ANSWER_TOKENS))
    async with open_benchmark(plan.llama) as benchmark:
        await benchmark.measure(16, 4)
        rounds = [await benchmark.measure(prompt, answer) for _ in range(2)]
        together = await benchmark.concurrent_throughput(
            plan.config.parallel, min(SHORT_PROMPT_TOKENS, prompt), answer
        )
    return {
        "prompt_rate": max(r.prompt_rate for r in rounds),
        "answer_rate": max(r.answer_rate for r in rounds),
        "together_rate": together,
    }
