"""Models in Hugging Face's format: a folder with weights in safetensors files."""
