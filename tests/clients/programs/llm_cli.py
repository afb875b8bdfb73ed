"""The command `llm`, configured as docs/clients.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MODELS = """
- model_id: edge
  model_name: default
  api_base: {url}/v1
  supports_tools: true
  supports_schema: true
- model_id: edge-responses
  model_name: default
  api_base: {url}/v1
  responses: true
  supports_tools: true
  supports_schema: true
"""
LIGHTS = '''
def set_light(room: str, on: bool) -> str:
    """Switch a light on or off."""
    return "done"
'''


def llm(*arguments: str, folder: Path | None = None) -> str:
    environment = {**os.environ, "LLM_USER_PATH": str(folder or Path.cwd())}
    command = [sys.executable, "-I", "-W", "ignore", "-m", "llm", *arguments]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout + done.stderr


def configured(url: str) -> None:
    Path("extra-openai-models.yaml").write_text(MODELS.format(url=url))


def prompt(url: str, model: str, text: str, *options: str) -> str:
    configured(url)
    return llm("prompt", "-m", model, "-o", "temperature", "0", *options, text).strip()


def schema(url: str, model: str, text: str) -> object:
    return json.loads(prompt(url, model, text, "--schema", "room str, level int"))


def tools(url: str, model: str, text: str) -> str:
    return prompt(url, model, text, "--functions", LIGHTS, "--tools-debug")


def endpoint(url: str, text: str) -> str:
    """Without any configuration."""
    return llm("openai", "endpoint", f"{url}/v1", text, "-m", "default", "-o", "temperature", "0").strip()


def endpoint_models(url: str) -> str:
    return llm("openai", "endpoint", f"{url}/v1", "--models")


def connected(_: str, folder: str, text: str) -> str:
    """With the configuration that is in a folder."""
    return llm("prompt", "-m", "edgeinfer", "-o", "temperature", "0", text, folder=Path(folder)).strip()
