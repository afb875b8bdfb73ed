"""The binding to llama.cpp: the only package that imports llama_cpp. It runs in the worker process."""
