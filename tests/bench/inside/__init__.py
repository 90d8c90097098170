"""Programs that benchmarks start in processes, and often in hosts of a lab, of their own."""
