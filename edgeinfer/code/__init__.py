"""The code assistant: reads a workspace, asks a model, and changes files only after showing how."""
