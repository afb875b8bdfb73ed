"""What a worker needs for grammars alone, it loads with the first one."""

from __future__ import annotations

import psutil

from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from tests.support.constraints import grammar
from tests.support.llama_client import pid, supervised, text


async def test_a_worker_takes_the_memory_of_grammars_once_one_is_asked_for() -> None:
    """llguidance's tables of a large vocabulary are 25 MB, and most of their time is Python's."""
    async with supervised() as client:
        await text(client)
        worker = psutil.Process(pid(client))
        assert not loads_llguidance(worker)
        structured = StructuredOutput(grammar=grammar(schema={"const": "formed"}))
        assert '"formed"' == await text(client, params=SamplingParams(seed=1), structured=structured)
        assert loads_llguidance(worker)


def loads_llguidance(process: psutil.Process) -> bool:
    return any("llguidance" in mapping.path for mapping in process.memory_maps())
