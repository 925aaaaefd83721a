"""Benchmarks: mmd beside what people do without it, on one machine, in one run (`make bench`)."""
