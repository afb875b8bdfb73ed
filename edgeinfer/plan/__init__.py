"""How a model runs best on a machine, and which model is best on it."""

from edgeinfer.plan.choice import Choice, choose
from edgeinfer.plan.memory import MemoryEstimate, kv_token_bytes
from edgeinfer.plan.offer import Candidate, Offer
from edgeinfer.plan.plan import Plan, make_plan, plan

__all__ = [
    "Candidate",
    "Choice",
    "MemoryEstimate",
    "Offer",
    "Plan",
    "choose",
    "kv_token_bytes",
    "make_plan",
    "plan",
]
