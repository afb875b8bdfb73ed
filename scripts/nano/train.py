"""Trains the network on a CPU in bfloat16, with float32 master weights.

Matrices are trained with Muon, which on so few tokens gets about twice as far as
AdamW; the embedding, norms and biases with AdamW. The loss is taken over what the
assistant says and, lightly, over a sample of the rest: declarations repeat names
that the calls copy, so reading them teaches copying.

One process a core, each with one thread, share gradients once a step: where other
work runs on the same cores, threads that meet at every operation lose most of
their time waiting for each other.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from dataset import Batch, batches
from model import Config, Nano
from tokenizers import Tokenizer
from torch import Tensor

PROMPT_SHARE, PROMPT_WEIGHT = 0.25, 0.3
SHAPE = Config(width=192, layers=5, heads=3, kv_heads=1, ffn=512)


class Trainer:
    """Keeps the masters and the two optimizers in step with the bfloat16 network."""

    def __init__(self, model: Nano, rate: float) -> None:
        self.rate, self.step = rate, 0
        self.masters = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.model = model.bfloat16()
        matrices = [p for name, p in self.masters.items() if p.ndim == 2 and name != "embed.weight"]
        others = [p for name, p in self.masters.items() if p.ndim != 2 or name == "embed.weight"]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                matrices, lr=rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def update(self, progress: float, said: float) -> tuple[float, float]:
        """One step on the mean gradient of all processes; their mean progress and loss.

        Progress (0 to 1) rides along with the gradients, so that all agree on the rate.
        """
        parts = [p.grad.float().flatten() for p in self.model.parameters() if p.grad is not None]
        shared = torch.cat([*parts, torch.tensor([progress, said])])
        dist.all_reduce(shared)
        shared /= dist.get_world_size()
        gradient, progress, said = shared[:-2], float(shared[-2]), float(shared[-1])
        gradient *= min(1.0, 1.0 / (float(gradient.norm()) + 1e-6))
        at = 0
        for p, master in zip(self.model.parameters(), self.masters.values(), strict=True):
            master.grad = gradient[at : at + p.numel()].view_as(p)
            at += p.numel()
            p.grad = None
        rate = self.rate * min((self.step + 1) / 60, 1.0, max(2 * (1 - progress), 0.01))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        with torch.no_grad():
            for p, master in zip(self.model.parameters(), self.masters.values(), strict=True):
                p.copy_(master)
        self.step += 1
        return progress, said

    def save(self, path: Path) -> None:
        """Write beside the target and rename, so that a reader never sees half a file."""
        temporary = path.with_suffix(".tmp")
        torch.save(
            {"config": self.model.config.to_dict(), "step": self.step, "weights": self.masters}, temporary
        )
        temporary.replace(path)


def losses(model: Nano, batch: Batch, generator: torch.Generator, pad: int) -> tuple[Tensor, float]:
    """The weighted loss, and the plain loss over what the assistant says."""
    ids, spoken = torch.from_numpy(batch[0]), torch.from_numpy(batch[1])
    hidden, target, spoken = model(ids[:, :-1]), ids[:, 1:], spoken[:, 1:]
    sampled = (torch.rand(target.shape, generator=generator) < PROMPT_SHARE) & (target != pad)
    chosen = spoken | sampled
    each = F.cross_entropy(model.logits(hidden[chosen]).float(), target[chosen], reduction="none")
    own = spoken[chosen]
    said, rest = each[own].sum(), each[~own].sum()
    count = int(own.sum())
    return (said + PROMPT_WEIGHT * rest) / count, said.item() / count


def work(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """One process of the training; the first also logs and saves."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=options.processes)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed + rank)
    directory: Path = options.directory
    pad = Tokenizer.from_file(str(directory / "tokenizer.json")).token_to_id("<|endoftext|>") or 0
    groups = list(group_up(batches(directory, options.batch, options.seed, pad), options.processes, rank))
    total = min(options.steps or len(groups), len(groups))
    model = Nano(SHAPE)
    if options.start:
        model.load_state_dict(torch.load(options.start, weights_only=True)["weights"])
    trainer = Trainer(model, options.rate)
    began, seen, recent = time.monotonic(), 0, 0.0
    for batch in groups[:total]:
        loss, said = losses(trainer.model, batch, generator, pad)
        loss.backward()
        spent = time.monotonic() - began
        progress = max(trainer.step / total, spent / (60 * options.minutes) if options.minutes else 0.0)
        progress, said = trainer.update(progress, said)
        seen += batch[0].size * options.processes
        recent = said if not recent else 0.95 * recent + 0.05 * said
        done = progress >= 1 or trainer.step == total
        if rank == 0 and (trainer.step % 20 == 0 or done):
            line = {
                "step": trainer.step,
                "progress": round(progress, 3),
                "loss": round(recent, 4),
                "tokens": seen,
                "seconds": round(spent),
            }
            with (directory / "train.jsonl").open("a") as log:
                print(json.dumps(line), file=log)
            print(json.dumps(line), flush=True)
        if rank == 0 and (trainer.step % 50 == 0 or done):
            trainer.save(directory / "model.pt")
        if done:
            break


def group_up(source: Iterator[Batch], processes: int, rank: int) -> Iterator[Batch]:
    """Every process's share: the batches dealt out in turn, the incomplete last round left out."""
    while len(dealt := list(islice(source, processes))) == processes:
        yield dealt[rank]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "directory", type=Path, help="holds tokenizer.json and data.npz; model.pt is written there"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=3072, help="tokens a step and process")
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument(
        "--steps", type=int, default=0, help="stop after so many steps (default: all data once)"
    )
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop after so long, the rate falling in time"
    )
    parser.add_argument("--start", type=Path, help="a model.pt to go on from")
    options = parser.parse_args()
    (options.directory / "train.jsonl").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as meeting:
        mp.spawn(work, (options, f"{meeting}/ranks"), nprocs=options.processes)


if __name__ == "__main__":
    main()
