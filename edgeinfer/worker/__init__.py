"""The process that owns llama.cpp, and the daemon's end of the wire to it."""
