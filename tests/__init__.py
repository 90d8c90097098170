"""Tests of extip, the lab they run in, the demo and the benchmarks."""
