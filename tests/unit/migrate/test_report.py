"""A person reads each service with its state, and what is in the way of which one."""

from extip.migrate.policy.report import Report, Row, as_text, summary


def row(service, state, *, obstacles=(), notes=()):
    return Row(
        service=service,
        type="ClusterIP",
        ips=("10.0.0.1", "fd00::1"),
        nodes=("n1",),
        state=state,
        obstacles=obstacles,
        notes=notes,
    )


READY = row("shop/web", "ready", notes=("change it at its source, too (Helm)",))
STUCK = row("shop/db", "in the way", obstacles=("10.0.0.1 is in no pool",))
DONE = row("shop/old", "migrated")


def test_each_service_is_a_line_and_each_reason_too():
    assert as_text([READY, STUCK], colour=False) == (
        "SERVICE   TYPE       IPS               NODE  STATE\n"
        "shop/web  ClusterIP  10.0.0.1,fd00::1  n1    ready\n"
        "shop/db   ClusterIP  10.0.0.1,fd00::1  n1    in the way\n"
        "\n"
        "! shop/db: 10.0.0.1 is in no pool\n"
        "- shop/web: change it at its source, too (Helm)\n"
    )
    assert as_text([READY, STUCK], colour=True).splitlines()[2].startswith("\x1b[31mshop/db")
    assert "\n\n" not in as_text([DONE], colour=False)


def test_the_last_sentence_says_what_comes_next():
    assert summary([READY, STUCK, DONE], undo=False).startswith(
        "1 of 2 services can be migrated; `--apply` does it: each becomes type LoadBalancer"
    )
    assert summary([READY], undo=True).startswith("1 service can be taken back; `--apply` does it")
    assert summary([STUCK], undo=False) == (
        "0 of 1 service can be migrated; what is in the way comes first\n"
    )
    assert summary([DONE], undo=False) == summary([], undo=False) == "nothing to do\n"


def test_it_is_fine_when_nothing_is_in_the_way():
    assert Report(services=(READY, DONE)).is_fine
    assert not Report(services=(READY, STUCK)).is_fine
