"""Requests to the model. They outlive the workers that compute them."""

from __future__ import annotations

from edgeinfer.backends.supervision.crash_holds import Activity


class InFlightRequest:
    """A request.

    Attributes:
        activity: who does what with it.
        revision: the model that it is for; None until the first worker takes it.
        submitted: a worker has taken it, though that one may have crashed since.
        kills: workers in a row that somebody else ended while it was in flight, without progress in between.
        crashes: those that crashed, and those that were ended after MAX_KILLS others.
        solo_crashes: those of them in which no other request was in flight, or this one was isolated.
        blamed_exit: how the worker exited that it is to blame for; None if it is not.
    """

    MAX_KILLS = 12
    """Workers in a row that may be ended from outside under a request before that counts against it: what ends them may
    be a guard that finds them too large, and then the request may be the cause."""

    def __init__(self, revision: str | None = None, activity: Activity = Activity("", "this")) -> None:
        self.activity = activity
        self.revision = revision
        self.submitted = False
        self.kills = 0
        self.crashes = 0
        self.solo_crashes = 0
        self.blamed_exit: str | None = None

    @property
    def has_output(self) -> bool:
        """A part of the answer has come."""
        return False

    @property
    def awaits_progress(self) -> bool:
        """A worker ended under it, and the next one has made no progress with it yet."""
        return self.kills + self.crashes > 0

    def on_crash(self, alone: bool, killed: bool = False) -> None:
        """A worker crashed while this was in flight. `killed`: to all appearances somebody else ended it."""
        if killed and self.kills < self.MAX_KILLS:
            self.kills += 1
            return
        self.crashes += 1
        self.solo_crashes += alone

    def on_progress(self) -> None:
        self.kills = self.crashes = self.solo_crashes = 0
