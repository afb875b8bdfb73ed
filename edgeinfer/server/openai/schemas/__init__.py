"""The bodies of OpenAI's requests, one file for each route. SamplingParams documents the sampling fields."""
