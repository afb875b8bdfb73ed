"""What the routes accept, one file a family. A field stands here once; SamplingParams holds its meaning."""
