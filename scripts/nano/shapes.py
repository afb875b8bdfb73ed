"""Measures how soon a network of some shape learns to copy: python shapes.py 6x256 12x192 4x320

Each sequence has 24 random tokens, and then the same again; the second half is to be predicted. A network gets that right
once it looks for what followed the last token before (an induction head).
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from model import Config, Nano
from muon import Muon

SHAPES = {
    "6x256": Config(width=256, layers=6, ffn=512),
    "12x192": Config(width=192, layers=12, ffn=384),
    "4x320": Config(width=320, layers=4, ffn=512),
}
"""Layers and width, each with 5.1 to 5.2 million parameters."""

LENGTH, SEQUENCES = 24, 64
TOKENS = (100, 1100)
RATE, WARM_UP = 4e-3, 20
MARKS = (0.1, 0.5, 0.95)


def measure(name: str, limit: int) -> None:
    """Train until nearly all is copied, and print the step of each mark."""
    torch.manual_seed(1)
    model = Nano(SHAPES[name])
    own = {n: p for n, p in model.named_parameters() if p.ndim == 2 and n != "embed.weight"}
    others = [p for n, p in model.named_parameters() if n not in own]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(list(own.values()), lr=RATE, dtype=torch.float32),
        torch.optim.AdamW(others, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    generator = torch.Generator().manual_seed(1)
    position = torch.arange(2 * LENGTH - 1).expand(SEQUENCES, -1)
    branch = torch.zeros(SEQUENCES, 2 * LENGTH - 1, dtype=torch.long)
    left, began = list(MARKS), time.monotonic()
    for step in range(1, limit + 1):
        half = torch.randint(*TOKENS, (SEQUENCES, LENGTH), generator=generator)
        ids = torch.cat((half, half), 1)
        # The first token of the second half says where to look, and cannot be predicted.
        logits = model.logits(model(ids[:, :-1], branch, position)[:, LENGTH:])
        wanted = ids[:, LENGTH + 1 :]
        F.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(step / WARM_UP, 1)
            optimizer.step()
            optimizer.zero_grad()
        right = float((logits.argmax(-1) == wanted).float().mean())
        while left and right >= left[0]:
            seconds = time.monotonic() - began
            print(f"{name}: {left.pop(0):.0%} right after {step} steps, {seconds:.0f} s", flush=True)
        if not left:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--limit", type=int, default=1000, help="steps at most")
    options = parser.parse_args()
    for name in options.shapes:
        measure(name, options.limit)


if __name__ == "__main__":
    main()
