"""Growth that goes on is a leak; a step and noise are none."""

from tests.soak.policy.resources import Sample, usage


def samples(memory, files, *, seconds=900, step=5):
    return [
        Sample(at_s=at, memory_mib=memory(at), files=files(at)) for at in range(0, seconds, step)
    ]


def leaks(memory=lambda _: 60.0, files=lambda _: 20, **more):
    found = usage("n1", samples(memory, files, **more))
    return None if found is None else found.leaks


def test_what_is_flat_leaks_nothing():
    assert leaks() == ()


def test_memory_that_grows_and_grows_is_a_leak():
    assert leaks(memory=lambda at: 60 + at / 30)[0].startswith("memory grew")


def test_open_files_that_grow_and_grow_are_a_leak():
    assert leaks(files=lambda at: 20 + at // 60)[0].startswith("open files grew")


def test_a_step_that_happened_once_is_none():
    assert (
        leaks(memory=lambda at: 60 if at < 500 else 80, files=lambda at: 20 if at < 500 else 40)
        == ()
    )


def test_noise_after_a_step_makes_it_no_leak():
    assert leaks(memory=lambda at: 60 if at < 300 else 74 + at / 900) == ()


def test_noise_is_none():
    assert leaks(memory=lambda at: 60 + at % 7, files=lambda at: 20 + at % 10) == ()


def test_the_start_of_a_program_does_not_count():
    assert leaks(memory=lambda at: min(60, 20 + at)) == ()


def test_a_program_that_lived_too_short_is_not_judged():
    assert leaks(seconds=150) is None
    assert usage("n1", []) is None
