"""edgeinfer: the inference daemon an edge box deserves."""

__version__ = "0.1.0"
