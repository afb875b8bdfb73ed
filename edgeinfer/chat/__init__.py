"""From chat messages to a prompt: templates rendered in a process of their own, callers' text kept harmless."""
