"""Trains the network on a CPU in bfloat16, with float32 master weights.

Matrices are trained with Muon, which on so few tokens gets about twice as far as
AdamW; the embedding, norms and biases with AdamW. The loss is taken over what the
assistant says and, lightly, over a sample of the rest: declarations repeat names
that the calls copy, so reading them teaches copying.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from dataset import Batch, batches
from model import Config, Nano
from tokenizers import Tokenizer
from torch import Tensor, nn

PROMPT_SHARE, PROMPT_WEIGHT = 0.25, 0.3
SHAPE = Config(width=256, layers=5, heads=4, kv_heads=2, ffn=640)


class Trainer:
    """Keeps the masters and the two optimizers in step with the bfloat16 network."""

    def __init__(self, model: Nano, steps: int, rate: float) -> None:
        self.model, self.steps, self.rate, self.step = model, steps, rate, 0
        self.masters = {name: p.detach().float().clone() for name, p in model.named_parameters()}
        matrices = [p for name, p in self.masters.items() if p.ndim == 2 and name != "embed.weight"]
        others = [p for name, p in self.masters.items() if p.ndim != 2 or name == "embed.weight"]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def scale(self) -> float:
        """Warm up over 100 steps, hold, fall linearly over the last half."""
        left = (self.steps - self.step) / (0.5 * self.steps)
        return min((self.step + 1) / 100, 1.0, max(left, 0.01))

    def update(self, loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for name, p in self.model.named_parameters():
            assert p.grad is not None
            self.masters[name].grad = p.grad.float()
            p.grad = None
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * self.scale()
            optimizer.step()
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(self.masters[name])
        self.step += 1

    def save(self, path: Path) -> None:
        """Write beside the target and rename, so that a reader never sees half a file."""
        temporary = path.with_suffix(".tmp")
        torch.save({"config": self.model.config.to_dict(), "step": self.step, "weights": self.masters}, temporary)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="holds tokenizer.json and data.npz; model.pt is written there")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--batch", type=int, default=6144, help="tokens a step")
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps (default: all data once)")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    pad = Tokenizer.from_file(str(options.directory / "tokenizer.json")).token_to_id("<|endoftext|>")
    total = options.steps or sum(1 for _ in batches(options.directory, options.batch, options.seed, pad))
    trainer = Trainer(Nano(SHAPE).bfloat16(), total, options.rate)
    log = (options.directory / "train.jsonl").open("w")
    began, seen, recent = time.monotonic(), 0, 0.0
    for batch in batches(options.directory, options.batch, options.seed, pad):
        loss, said = losses(trainer.model, batch, generator, pad)
        trainer.update(loss)
        seen += batch[0].size
        recent = said if not recent else 0.95 * recent + 0.05 * said
        if trainer.step % 20 == 0 or trainer.step == total:
            spent = time.monotonic() - began
            line = {"step": trainer.step, "of": total, "loss": round(recent, 4), "tokens": seen, "seconds": round(spent)}
            print(json.dumps(line), file=log, flush=True)
            print(json.dumps(line | {"per_second": round(seen / spent)}), flush=True)
        if trainer.step % 100 == 0 or trainer.step == total:
            trainer.save(options.directory / "model.pt")
        if trainer.step == total:
            break


if __name__ == "__main__":
    main()
