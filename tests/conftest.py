"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does: a benchmark's matter, no test's.
settings.register_profile(
    "extip", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("extip")
