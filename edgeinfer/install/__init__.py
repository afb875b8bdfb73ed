"""From a bare machine to a service that answers: one step after the other, and back where one fails."""
