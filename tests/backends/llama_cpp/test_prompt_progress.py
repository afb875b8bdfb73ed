"""Reports of a prompt's progress are not part of an answer, so a resumed request has none of them."""

from __future__ import annotations

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import Generate
from edgeinfer.inference.output import Delta, PromptProgress
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span


def test_progress_of_a_prompt_is_no_part_of_its_answer() -> None:
    """A worker that resumes the request starts the answer, and its reports, from the beginning."""
    generation = ResumableGeneration([Span("Hi")], SamplingParams(prompt_progress=True))
    generation.note(Delta(1, 0, "", progress=PromptProgress(5, 0, 3, 1.0)))
    assert not generation.has_output
    message = generation.message(2)
    assert isinstance(message, Generate)
    assert (message.params.prompt_progress, message.partial_answers) == (True, ())
