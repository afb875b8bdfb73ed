"""The daemon's APIs over HTTP: FastAPI for the routes, pure ASGI around them, and no llama.cpp in sight."""
