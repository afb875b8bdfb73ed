"""The labels of a node in Ray's sense: what it is, and what may run on it."""

CLASS = "edgeinfer-class"
"""Its hardware class."""

INGRESS = "edgeinfer-ingress"
"""It listens for clients: "yes"."""
