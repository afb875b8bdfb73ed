"""Modules that take tens of megabytes, or seconds to import."""

from __future__ import annotations

HEAVY = ("numpy", "llama_cpp", "huggingface_hub", "torch", "transformers", "ray", "llguidance")
