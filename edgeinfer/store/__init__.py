"""The models on this machine: the catalogue, the store of model files, and what other programs have."""
