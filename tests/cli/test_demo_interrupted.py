"""`farthing demo`, when Ctrl-C is pressed in the middle."""

from __future__ import annotations

import threading

import pytest

from farthing.demo import THREADS, _all_at_once


def test_after_ctrl_c_no_thread_goes_on():
    free = threading.Event()
    ended = []

    def ask():
        free.wait()
        ended.append(threading.get_ident())

    def interrupted():
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        _all_at_once(ask, interrupted, free.set)
    assert len(ended) == THREADS
    assert set(threading.enumerate()) <= before  # those of other tests may end meanwhile
