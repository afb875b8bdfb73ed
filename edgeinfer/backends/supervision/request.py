"""Requests to the model. They outlive the workers that compute them."""

from __future__ import annotations

from edgeinfer.backends.supervision.crash_holds import Activity


class InFlightRequest:
    """A request.

    Attributes:
        activity: who does what with it.
        revision: the model that it is for; None until the first worker takes it.
        submitted: a worker has taken it, though that one may have crashed since.
        crashes: workers in a row that crashed while it was in flight, without progress in between.
        solo_crashes: those of them in which no other request was in flight, or this one was isolated.
        blamed_exit: how the worker exited that it is to blame for; None if it is not.
    """

    def __init__(self, revision: str | None = None, activity: Activity = Activity("", "this")) -> None:
        self.activity = activity
        self.revision = revision
        self.submitted = False
        self.crashes = 0
        self.solo_crashes = 0
        self.blamed_exit: str | None = None

    @property
    def has_output(self) -> bool:
        """A part of the answer has come."""
        return False

    def on_crash(self, alone: bool, killed: bool = False) -> None:  # noqa: ARG002  some subclasses care
        """A worker crashed while this was in flight. `killed`: somebody else ended it."""
        self.crashes += 1
        self.solo_crashes += alone

    def on_progress(self) -> None:
        self.crashes = self.solo_crashes = 0
