"""The only room that imports llama_cpp. It lives in the worker process."""
