"""Several interfaces: each is judged by itself, and the first one alone watches other nodes."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from extip.uplink.policy.isolation import ANSWER_S, MISSES, Reachability
from extip.uplink.policy.silence import SILENT
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import jump, run_virtually
from tests.unit.uplink.test_isolation_watch import N2, ROUND_S, ROUTER, World

HB_S = 4.0
UNSURE, REACHED, ISOLATED = Reachability.UNSURE, Reachability.REACHED, Reachability.ISOLATED


class Beating(World):
    """The same with a heartbeat, which says what the interfaces report."""

    def __init__(self):
        super().__init__()
        self.names = {N2: "n2"}
        self.said: list[dict[str, Reachability]] = []

    async def beat(self):
        while True:
            self.said.append(self.watch.reports())
            self.watch.expect_heartbeat(asyncio.get_running_loop().time() + HB_S)
            await asyncio.sleep(HB_S)

    @asynccontextmanager
    async def beating(self):
        async with self.running(), beside(self.beat()):
            await asyncio.sleep(HB_S)
            yield


def play(scenario, *links):
    async def main():
        world = Beating()
        for number, name in enumerate(links or ("eth1",), 3):
            world.add(name, number)
        async with world.beating():
            await scenario(world)

    run_virtually(main())


def asked_for(link, since):
    return [at for at, _ in link.asked if at >= since]


@pytest.mark.parametrize("others", [1, 3])
def test_at_rest_each_other_interface_costs_one_question_a_heartbeat_in_time_for_it(others):
    async def scenario(world):
        begin = asyncio.get_running_loop().time()
        world.asked.clear()
        await asyncio.sleep(20 * HB_S)
        for link in world.more.values():
            times = asked_for(link, begin)
            assert 19 <= len(times) <= 21
            assert all(0.8 * HB_S <= b - a <= 1.2 * HB_S for a, b in pairwise(times))
            assert all(mac == link.mac for at, mac in link.asked if at >= begin), "unicast"
        rounds = 20 * HB_S / ROUND_S
        assert len(world.asked) <= 1.1 * rounds, "the first one is asked no more often than alone"
        everywhere = dict.fromkeys(["eth0", *world.more], REACHED)
        assert world.said[-15:] == [everywhere] * 15
        assert list(world.said[-1]) == ["eth0", *world.more]

    play(scenario, *(f"eth{n}" for n in range(1, 1 + others)))


def test_one_of_the_others_leads_nowhere_and_it_alone_is_told_of():
    async def scenario(world):
        link = world.more["eth1"]
        world.asked.clear()
        begin = asyncio.get_running_loop().time()
        link.answers_now = False
        await asyncio.sleep(HB_S + 2 * MISSES * ANSWER_S)
        assert world.states.isolated == {"eth1"}
        assert world.watch.reports() == {"eth0": REACHED, "eth1": ISOLATED}
        assert world.watch.reachability() is REACHED, "what older schedulers read"
        took = asked_for(link, begin)[:MISSES]
        assert took[-1] - took[0] < 2 * MISSES * ANSWER_S, "a doubt is repeated at once"
        rounds = (asyncio.get_running_loop().time() - begin) / ROUND_S
        assert len(world.asked) <= 1.1 * rounds + 2, "on its own interface alone"
        assert world.told == [False]
        assert world.silences == []
        assert world.states.unheard_at < begin
        assert world.metric("extip_link_isolated", "eth1") == 1
        assert world.metric("extip_link_isolated", "eth0") == 0
        link.answers_now = True
        await asyncio.sleep(3 * ROUND_S)
        assert world.watch.reports() == {"eth0": REACHED, "eth1": REACHED}
        assert world.metric("extip_link_isolated", "eth1") == 0

    play(scenario)


def test_the_first_one_leads_nowhere_and_the_others_are_reached():
    async def scenario(world):
        world.answering.clear()
        await asyncio.sleep(2 * HB_S)
        assert world.said[-1] == {"eth0": ISOLATED, "eth1": REACHED}
        assert world.watch.reachability() is ISOLATED
        assert world.silences == [], "no other station answered there: nobody is called silent"

    play(scenario)


def test_a_silent_node_is_noticed_as_soon_as_with_one_interface():
    async def scenario(world):
        world.answering = {ROUTER}
        await asyncio.sleep(ROUND_S + SILENT * 2 * ANSWER_S)
        assert world.silences == [("n2",)]
        assert world.states.isolated == frozenset()

    play(scenario)


def test_a_process_that_stood_still_draws_no_conclusion_about_any():
    async def scenario(world):
        for _ in range(5):
            jump(60)
            await asyncio.sleep(ROUND_S)
        world.more["eth1"].answers_now = False
        jump(60)
        await asyncio.sleep(ANSWER_S)
        assert world.states.isolated == frozenset()

    play(scenario)


@pytest.mark.parametrize("lost", ["carrier", "addresses"])
def test_one_that_cannot_ask_is_unsure_and_keeps_its_state(lost):
    async def scenario(world):
        link = world.more["eth1"]
        up, own = link.link, link.own
        for answers, after in ((True, UNSURE), (False, ISOLATED)):
            link.answers_now = answers
            await asyncio.sleep(2 * HB_S)
            if lost == "carrier":
                link.link = replace(up, carrier=False)
            else:
                link.own = ()
            await asyncio.sleep(2 * HB_S)
            assert world.said[-1] == {"eth0": REACHED, "eth1": after}
            link.link, link.own = up, own

    play(scenario)


def test_one_that_comes_back_leads_nowhere_until_somebody_answers():
    async def scenario(world):
        link = world.more["eth1"]
        link.answers_now = False
        await asyncio.sleep(2 * HB_S)
        world.selected = ["eth0"]
        await asyncio.sleep(1.5 * HB_S)
        assert world.said[-1] == {"eth0": REACHED}
        assert world.states.isolated == frozenset()
        assert link.opened is None
        world.selected = ["eth0", "eth1"]
        await asyncio.sleep(1.5 * HB_S)
        assert world.said[-1] == {"eth0": REACHED, "eth1": ISOLATED}
        link.answers_now = True
        await asyncio.sleep(2.5 * HB_S)
        assert world.said[-1] == {"eth0": REACHED, "eth1": REACHED}

    play(scenario)


def test_interfaces_that_come_and_go_without_end_leave_nothing_behind():
    async def scenario(world):
        for number in range(10, 50):
            world.add(f"pod{number}", number)
            await asyncio.sleep(2 * ROUND_S)
            world.selected = ["eth0"]
            await asyncio.sleep(2 * ROUND_S)
        kept = [n for n in range(10, 50) if world.metric("extip_link_neighbours", f"pod{n}")]
        assert kept == list(range(34, 50))
        assert world.said[-1] == {"eth0": REACHED}

    play(scenario)


def test_where_the_first_one_changes_the_new_one_watches_the_nodes():
    async def scenario(world):
        link = world.more["eth1"]
        world.selected = ["eth1", "eth0"]
        world.names = {link.neighbour: "n3"}
        await asyncio.sleep(20 * ROUND_S)
        assert world.metric("extip_link_watched") == 1
        assert list(world.watch.reports()) == ["eth1", "eth0"]
        world.selected = []
        await asyncio.sleep(20 * ROUND_S)
        assert world.watch.reports() == {}
        assert world.watch.reachability() is UNSURE

    play(scenario)


@pytest.mark.parametrize("answers", [False, True])
def test_what_was_said_of_each_before_the_start_stands_until_somebody_answers(answers):
    async def main():
        world = Beating()
        world.add("eth1", 3).answers_now = answers
        world.watch.restore({"eth0": REACHED, "eth1": ISOLATED})
        assert world.watch.reports() == {"eth1": ISOLATED}, "no interface is known yet"
        assert world.watch.reachability() is UNSURE
        async with world.running():
            assert world.states.isolated == (set() if answers else {"eth1"})

    run_virtually(main())
