"""How long to wait before the next try."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with jitter; seconds."""

    initial_s: float
    cap_s: float
    factor: float = 2.0
    jitter: float = 0.5
    """Share of each delay that is left to chance, so that many clients do not return together."""

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the delay after that many failures in a row (from 1), never above the cap.

        `chance` in [0, 1) comes from the caller's random generator.
        """
        full = self.initial_s
        for _ in range(failures - 1):
            full *= self.factor
            if full >= self.cap_s:  # before a long row of failures overflows a float
                break
        full = min(full, self.cap_s)
        return full * (1.0 - self.jitter * chance)
