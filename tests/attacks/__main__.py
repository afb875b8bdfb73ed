"""Run one attack: python -m tests.attacks NAME TARGET. The monitor starts it in a process of its own."""

from __future__ import annotations

import os
import resource
import sys

import msgspec

from tests.attacks.table import attack
from tests.attacks.target import Target

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
os.nice(5)  # attackers have computers of their own
attack(sys.argv[1]).run(msgspec.json.decode(sys.argv[2], type=Target))
