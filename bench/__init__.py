"""Benchmarks. Everything that is compared is measured on one machine, in one run."""
