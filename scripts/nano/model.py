"""The network: qwen2's architecture, written small enough to read in one sitting.

Names and layout follow what llama.cpp expects of `general.architecture = qwen2`
(rotary halves as in NEOX, bias on q, k and v only, output tied to the embedding),
so that export is a plain copy of every tensor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """The model's shape; every row length is a multiple of 32, which Q8_0 needs."""

    vocab: int = 6144
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 512
    context: int = 2048
    rope_base: float = 10000.0
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class RMSNorm(nn.Module):
    """Scale by the root mean square; computed in float32, as llama.cpp does."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rope_table(config: Config, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions 0..length-1, each half repeated (NEOX order)."""
    half = config.head_dim // 2
    freq = config.rope_base ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), freq)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary embedding to [batch, heads, time, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention: the fused kernel, or spelled out in bfloat16, where that takes half
    the time on a CPU at a few hundred positions; in float32 it takes half as much again.
    """
    if q.dtype == torch.float32:
        fused: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return fused
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + mask
    return scores.softmax(dim=-1) @ v


class Attention(nn.Module):
    """Grouped-query causal attention."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        kv_width = config.kv_heads * config.head_dim
        self.q = nn.Linear(config.width, config.width)
        self.k = nn.Linear(config.width, kv_width)
        self.v = nn.Linear(config.width, kv_width)
        self.o = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, time, width = x.shape
        c = self.config
        q = self.q(x).view(batch, time, c.heads, c.head_dim).transpose(1, 2)
        k = self.k(x).view(batch, time, c.kv_heads, c.head_dim).transpose(1, 2)
        v = self.v(x).view(batch, time, c.kv_heads, c.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = attend(q, k, v, mask)
        out: Tensor = self.o(y.transpose(1, 2).reshape(batch, time, width))
        return out


class Block(nn.Module):
    """One layer: attention and a SwiGLU feed-forward, each behind a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn_norm = RMSNorm(config.width, config.eps)
        self.attn = Attention(config)
        self.ffn_norm = RMSNorm(config.width, config.eps)
        self.gate = nn.Linear(config.width, config.ffn, bias=False)
        self.up = nn.Linear(config.width, config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x), cos, sin, mask)
        h = self.ffn_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return out


class Nano(nn.Module):
    """The whole model; `forward` gives the last hidden states, `logits` projects them.

    They are apart because the loss needs only the supervised positions, and at
    this size the projection to the vocabulary is a large part of the work.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.eps)
        cos, sin = rope_table(config, config.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.apply(self._init)
        scale = (2 * config.layers) ** -0.5
        for block in self.blocks:
            assert isinstance(block, Block)
            block.attn.o.weight.data.mul_(scale)
            block.down.weight.data.mul_(scale)

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)

    def forward(self, tokens: Tensor, branch: Tensor, position: Tensor) -> Tensor:
        """Last hidden states; all arguments are texts × tokens.

        A token sees what stands before it in branch 0 and in its own, and positions count along these.
        """
        time = tokens.shape[1]
        x = self.embed(tokens)
        cos, sin = (self.get_buffer(name)[position].unsqueeze(1).to(x.dtype) for name in ("cos", "sin"))
        seen = (branch.unsqueeze(1) == 0) | (branch.unsqueeze(1) == branch.unsqueeze(2))
        seen &= torch.ones(time, time, dtype=torch.bool).tril()
        mask = torch.zeros(seen.shape, dtype=x.dtype).masked_fill_(~seen, float("-inf")).unsqueeze(1)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embed.weight)
