"""A queue that was long once is as quick afterwards as a new one."""

import sys

from extip.cache.changes import give_back


def test_an_emptied_dict_is_small_again():
    queue = dict.fromkeys(range(1000))
    for key in list(queue):
        del queue[key]
    assert sys.getsizeof(queue) > 10 * sys.getsizeof({1: None})
    give_back(queue)
    assert sys.getsizeof(queue) <= sys.getsizeof({1: None})


def test_what_is_still_in_a_dict_stays_there():
    queue = dict.fromkeys(range(1000))
    for key in list(queue)[1:]:
        del queue[key]
    give_back(queue)
    assert queue == {0: None}
