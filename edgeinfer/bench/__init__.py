"""How fast this machine computes: real steps of the real engine, with models at hand or made for it."""
