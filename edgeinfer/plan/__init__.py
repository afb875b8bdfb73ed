"""Plans how a model runs best on a machine, and which model is best for it."""

from edgeinfer.plan.memory_estimate import MemoryEstimate, kv_token_bytes
from edgeinfer.plan.model_choice import ModelChoice, choose
from edgeinfer.plan.model_option import ModelOption, RankedOption
from edgeinfer.plan.plan import Plan, make_plan, plan_model

__all__ = [
    "MemoryEstimate",
    "ModelChoice",
    "ModelOption",
    "Plan",
    "RankedOption",
    "choose",
    "kv_token_bytes",
    "make_plan",
    "plan_model",
]
