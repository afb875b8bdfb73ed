"""The Model Context Protocol: tools of other programs for our models, and our models for other programs."""
