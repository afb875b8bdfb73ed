"""Measures the speed of models and of this machine, with real steps of the engine."""
