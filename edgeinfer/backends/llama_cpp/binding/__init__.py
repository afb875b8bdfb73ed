"""The binding to llama.cpp: the only package that imports llama_cpp. It runs in the worker process.

Of llama_cpp only the functions of the library are used. What the package itself imports when it is imported, a
template engine and a database among it, takes 4 MB, and is left out.
"""

import sys
from importlib.util import find_spec, module_from_spec

if "llama_cpp" not in sys.modules and (spec := find_spec("llama_cpp")):
    sys.modules["llama_cpp"] = module_from_spec(spec)  # a package whose modules can be imported
