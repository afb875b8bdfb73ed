"""What a daemon says of itself at /status."""

from __future__ import annotations

from typing import Any

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 7,
    "uptime": 3725.5,
    "state": "ready",
    "restarts": 1,
    "last_exit": "signal 9",
    "reason": None,
    "worker_pid": 8,
    "engine": {"name": "llama.cpp", "version": "0.3.36", "isa": ["neon", "dotprod"], "variant": "armv8.2_1"},
    "confinement": {"worker": "Landlock 7, seccomp", "template": None},
    "model": {
        "name": "nano",
        "path": "/m/nano.gguf",
        "description": "llama F16",
        "n_params": 3100000,
        "size": 6200000,
        "sampling": {"temperature": 0.6, "top_k": 40},
        "system_prompt": False,
        "template_limits": ["no tools", "no empty turns"],
    },
    "stats": {
        "running": 2,
        "waiting": 1,
        "cells": 100,
        "cells_used": 40,
        "cells_cached": 30,
        "prompt_tokens_total": 10,
        "cached_tokens_total": 4,
        "completion_tokens_total": 20,
        "steps_total": 5,
        "step_ms": 12.34,
        "threads": 1,
    },
    "plan": {
        "config": {
            "model": "/m/nano.gguf",
            "cpus": [],
            "ctx": 50,
            "flash_attention": False,
            "step_ms": 200.0,
            "threads": 2,
        },
        "reasons": ["ctx: as told"],
    },
    "settings": {"ctx": {"value": 50, "source": "flag"}, "port": {"value": 11435, "source": "default"}},
    "something_new": 1,
}
