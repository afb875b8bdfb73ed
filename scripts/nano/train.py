"""Trains the network on a CPU, in bfloat16 where it computes that fast, with float32 master weights.

Matrices are trained with Muon, which on so few tokens gets about twice as far as
AdamW; the embedding, norms and biases with AdamW. The loss is taken over what the
assistant says and, lightly, over a sample of the rest: declarations repeat names
that the calls copy, so reading them teaches copying.

One process a core, each with one thread, share gradients once a step: where other
work runs on the same cores, threads that meet at every operation lose most of
their time waiting for each other. Each updates a share of the matrices.

The rate follows the steps, not the clock: it stays, then falls linearly over the
last ones. `touch DIRECTORY/finish` starts that fall early, so that a run can be
stopped and continued at will (SIGSTOP, SIGCONT) and still be brought to a good end.
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
from muon import Muon
from tokenizers import Tokenizer
from torch import Tensor

PROMPT_SHARE = 0.06
SHAPE = Config(width=256, layers=6, heads=4, kv_heads=2, ffn=512)


class Trainer:
    """Keeps the masters and the two optimizers in step with the network."""

    def __init__(self, model: Nano, rate: float, total: int, fall: int, dtype: torch.dtype) -> None:
        self.rate, self.step = rate, 0
        self.total, self.fall = total, min(fall, total)
        self.masters = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.model = model.to(dtype)
        matrices = [p for name, p in self.masters.items() if p.ndim == 2 and name != "embed.weight"]
        others = [p for name, p in self.masters.items() if p.ndim != 2 or name == "embed.weight"]
        rank, ranks = dist.get_rank(), dist.get_world_size()
        self.foreign = [p for i, p in enumerate(matrices) if i % ranks != rank]
        self.matrices = matrices
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices[rank::ranks], lr=rate, dtype=dtype),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def update(self, finish: bool, said: float) -> float:
        """One step on the mean gradient of all processes; their mean loss.

        The wish to finish rides along with the gradients, so that all agree on the rate.
        """
        parts = [p.grad.float().flatten() for p in self.model.parameters() if p.grad is not None]
        shared = torch.cat([*parts, torch.tensor([float(finish), said])])
        dist.all_reduce(shared)
        shared /= dist.get_world_size()
        gradient, said = shared[:-2], float(shared[-1])
        if shared[-2] > 0:
            self.total = min(self.total, self.step + self.fall)
        gradient *= min(1.0, 1.0 / (float(gradient.norm()) + 1e-6))
        at = 0
        for p, master in zip(self.model.parameters(), self.masters.values(), strict=True):
            master.grad = gradient[at : at + p.numel()].view_as(p)
            at += p.numel()
            p.grad = None
        rate = self.rate * min((self.step + 1) / 20, 1.0, max((self.total - self.step) / self.fall, 0.01))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        with torch.no_grad():
            self._gather()
            for p, master in zip(self.model.parameters(), self.masters.values(), strict=True):
                p.copy_(master)
        self.step += 1
        return said

    def _gather(self) -> None:
        """The matrices that other processes have updated."""
        for p in self.foreign:
            p.zero_()
        flat = torch.cat([p.flatten() for p in self.matrices])
        dist.all_reduce(flat)
        at = 0
        for p in self.matrices:
            p.copy_(flat[at : at + p.numel()].view_as(p))
            at += p.numel()

    def save(self, path: Path) -> None:
        """Write beside the target and rename, so that a reader never sees half a file."""
        temporary = path.with_suffix(".tmp")
        torch.save(
            {"config": self.model.config.to_dict(), "step": self.step, "weights": self.masters}, temporary
        )
        temporary.replace(path)


def losses(
    model: Nano, batch: Batch, generator: torch.Generator, pad: int, weight: float
) -> tuple[Tensor, float]:
    """The loss with a weight on what the assistant doesn't say, and the plain loss over what it says."""
    ids, spoken, branch, position = (torch.from_numpy(part) for part in batch)
    hidden = model(ids[:, :-1], branch[:, :-1], position[:, :-1])
    # The first token of a branch does not follow the last one of the branch before it.
    follows = (branch[:, 1:] == branch[:, :-1]) & (ids[:, 1:] != pad)
    target, spoken = ids[:, 1:], spoken[:, 1:]
    sampled = (torch.rand(target.shape, generator=generator) < PROMPT_SHARE) & follows
    chosen = spoken | sampled
    each = F.cross_entropy(model.logits(hidden[chosen]).float(), target[chosen], reduction="none")
    own = spoken[chosen]
    said, rest = each[own].sum(), each[~own].sum()
    count = int(own.sum())
    return (said + weight * rest) / count, said.item() / count


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
    dtype = torch.bfloat16 if options.bfloat16 else torch.float32
    if options.compile:
        for block in model.blocks:
            block.compile(dynamic=True)
    trainer = Trainer(model, options.rate, total, options.fall, dtype)
    began, seen, recent = time.monotonic(), 0, 0.0
    finish = directory / "finish"
    for batch in groups:
        loss, said = losses(trainer.model, batch, generator, pad, options.prompt_weight)
        loss.backward()
        late = bool(options.minutes) and time.monotonic() - began > 60 * options.minutes
        falling = trainer.step + trainer.fall >= trainer.total
        said = trainer.update(not falling and (late or finish.exists()), said)
        seen += batch.ids.size * options.processes
        recent = said if not recent else 0.95 * recent + 0.05 * said
        done = trainer.step >= trainer.total
        if rank == 0 and (trainer.step % 20 == 0 or done):
            line = {
                "step": trainer.step,
                "of": trainer.total,
                "loss": round(recent, 4),
                "tokens": seen,
                "seconds": round(time.monotonic() - began),
            }
            with (directory / "train.jsonl").open("a") as log:
                print(json.dumps(line), file=log)
            print(json.dumps(line), flush=True)
        if rank == 0 and (trainer.step % 50 == 0 or done):
            trainer.save(directory / "model.pt")
        if done:
            break


def helper(index: int, options: argparse.Namespace, meeting: str) -> None:
    """A process beside the first; it waits wherever the first is stopped."""
    work(index + 1, options, meeting)


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
    parser.add_argument("--batch", type=int, default=4096, help="tokens a step and process")
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument(
        "--bfloat16", action="store_true", help="for processors with instructions for it; others are slower"
    )
    parser.add_argument("--compile", action="store_true", help="a tenth faster; needs a C++ compiler")
    parser.add_argument(
        "--steps", type=int, default=0, help="stop after so many steps (default: all data once)"
    )
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="let the rate begin to fall after so long at the latest"
    )
    parser.add_argument("--fall", type=int, default=600, help="steps over which the rate falls at the end")
    parser.add_argument(
        "--prompt-weight", type=float, default=0.3, help="of the loss outside of what the assistant says"
    )
    parser.add_argument("--start", type=Path, help="a model.pt to go on from")
    options = parser.parse_args()
    for stale in ("train.jsonl", "finish"):
        (options.directory / stale).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as meeting:
        others = mp.spawn(helper, (options, f"{meeting}/ranks"), nprocs=options.processes - 1, join=False)
        work(0, options, f"{meeting}/ranks")
        others.join()


if __name__ == "__main__":
    main()
