"""The Muon optimizer in a precision of choice: torch's own always computes in bfloat16.

Most processors multiply bfloat16 matrices many times slower than float32 ones.
Method and coefficients: Keller Jordan, "Muon: an optimizer for hidden layers in neural
networks", 2024; the scale that matches AdamW's updates: Liu et al., arXiv:2502.16982.
"""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonal(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix with the same singular vectors and singular values near one."""
    a, b, c = COEFFICIENTS
    x = gradient.to(dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(gradient.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal; for matrices only."""

    def __init__(
        self,
        matrices: list[Tensor],
        lr: float,
        dtype: torch.dtype,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    def step(self) -> None:
        with torch.no_grad():
            self._move()

    def _move(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(mean, group["momentum"]), self.dtype)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)
