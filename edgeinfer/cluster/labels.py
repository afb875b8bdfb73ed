"""The labels of a node in Ray's sense: what it is, and what may run on it."""

CLASS = "edgeinfer-class"
"""Its hardware class."""

INGRESS = "edgeinfer-ingress"
"""It listens for clients if the value is YES."""

YES = "yes"

NODE = "edgeinfer-node"
"""A name of its own, which its folder remembers."""
