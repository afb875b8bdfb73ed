from __future__ import annotations

import hypothesis

# The same examples each time, and no time limit: the machine may be busy with something else.
hypothesis.settings.register_profile("tests", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("tests")
