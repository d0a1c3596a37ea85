"""Talk time, share, turns, monologues and interruptions, on talks that can be checked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.transcripts.talk_stats import talk_stats
from tests.support.demo_results import KEYS, of, stored, utterance


def test_a_talk_of_two() -> None:
    said = stored(
        utterances=[
            utterance("one two three four", "A"),  # 0-1600
            utterance("yes", "B", 1200),  # inside A's: an interruption
            utterance("five", "A", 1700),
            utterance("well then", "B", 4000),
        ]
    )
    agent, customer = talk_stats(said)
    assert (agent.speaker, agent.talk_seconds, agent.words, agent.turns, agent.interruptions) == ("A", 2.1, 5, 2, 0)
    assert (customer.talk_seconds, customer.turns, customer.interruptions) == (1.2, 2, 1)
    assert (agent.share, customer.share) == (0.6364, 0.3636)
    assert agent.talk_listen_ratio == 1.75
    assert (agent.longest_monologue_seconds, customer.longest_monologue_seconds) == (1.6, 0.8)


def test_one_alone_has_no_ratio() -> None:
    [only] = talk_stats(stored(utterances=[utterance("hello there", "A")]))
    assert (only.share, only.talk_listen_ratio, only.turns) == (1.0, None, 1)


@pytest.mark.parametrize("key", KEYS)
def test_shares_of_real_talks_add_up(key: str) -> None:
    found = talk_stats(of(key))
    assert sum(one.share for one in found) == pytest.approx(1, abs=0.001)
    assert sum(one.talk_seconds for one in found) <= of(key).seconds


SAID = st.lists(
    st.builds(
        lambda speaker, start, count: utterance("word " * count, speaker, start),
        st.sampled_from("ABC"), st.integers(0, 60_000), st.integers(1, 20),
    ),
    min_size=1, max_size=20,
)  # fmt: skip


@given(SAID)
def test_talk_shares_sum_to_one_and_no_turn_exceeds_the_talk(said: list[dict[str, object]]) -> None:
    talk = stored(utterances=said)
    found = talk_stats(talk)
    assert sum(one.share for one in found) == pytest.approx(1, abs=0.001)
    assert sum(one.words for one in found) == sum(len(one.words) for one in talk.utterances)
    assert all(0 < one.longest_monologue_seconds <= talk.seconds for one in found)
    assert all(one.turns >= 1 for one in found)
