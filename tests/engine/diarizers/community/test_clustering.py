"""Voices are told apart: pure, on made-up vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.engine.diarizers.community.clustering import Bounds, average_linkage, cut, speakers
from batch.engine.diarizers.community.embedding import unit

FREE = Bounds()


def voices(counts: list[int], spread: float = 0.5, seed: int = 1):
    """Pieces of two seconds of so many voices: their unit vectors and who they are of."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((len(counts), 256)).astype(np.float32))
    owners = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    noise = unit(rng.standard_normal((len(owners), 256)).astype(np.float32))
    return unit(centres[owners] + spread * noise), owners


def label(vectors, bounds=FREE, length: float = 2.0):
    tracks = [(i, 0) for i in range(len(vectors))]
    return speakers(vectors, np.full(len(vectors), length, np.float32), tracks, bounds)


def same_partition(one, other) -> bool:
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))


@pytest.mark.parametrize("counts", [[12], [10, 10], [30, 5, 8], [9, 9, 9, 9, 9, 9]], ids=len)
def test_the_number_of_speakers_is_found_out(counts: list[int]) -> None:
    vectors, owners = voices(counts)
    assert same_partition(label(vectors), owners)


def test_a_voice_heard_for_a_moment_is_not_a_speaker_of_its_own() -> None:
    vectors, owners = voices([40, 40, 1])
    assert set(label(vectors)) == {0, 1}
    assert same_partition(label(vectors)[owners < 2], owners[owners < 2])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_the_number_of_speakers_can_be_given(count: int) -> None:
    vectors, _ = voices([12, 12, 12, 12])
    assert len(set(label(vectors, Bounds(count, count)))) == count


def test_bounds_are_hard_and_do_nothing_where_they_hold() -> None:
    vectors, owners = voices([12, 12, 12])
    assert len(set(label(vectors, Bounds(most=2)))) == 2
    assert len(set(label(vectors, Bounds(fewest=4)))) == 4
    assert same_partition(label(vectors, Bounds(2, 5)), owners)


def test_brief_speaker_is_found_rather_than_a_talker_cut_in_two() -> None:
    vectors, owners = voices([30, 12, 1])
    lengths = np.where(owners == 2, 0.8, 2.0).astype(np.float32)
    found = speakers(vectors, lengths, [(i, 0) for i in range(len(vectors))], Bounds(3, 3))
    assert same_partition(found, owners)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(3, 14), min_size=1, max_size=7),
    fewest=st.integers(1, 9),
    more=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_bounds_are_kept_where_there_is_speech_enough(counts, fewest: int, more: int, seed: int) -> None:
    vectors, _ = voices(counts, spread=0.7, seed=seed)
    found = len(set(label(vectors, Bounds(fewest, fewest + more))))
    assert min(fewest, len(vectors)) <= found <= fewest + more
    assert len(set(label(vectors, Bounds(fewest, fewest)))) == min(fewest, len(vectors))


def test_more_speakers_than_pieces_cannot_be_had() -> None:
    vectors, _ = voices([2])
    assert len(set(label(vectors, Bounds(5, 5)))) <= 2


def test_one_piece_is_one_speaker() -> None:
    vectors, _ = voices([1])
    assert list(label(vectors, length=0.6)) == [0]


def test_voices_that_one_window_told_apart_stay_apart() -> None:
    vectors, _ = voices([2], spread=0.75)
    tracks = [(0, 0), (0, 1)]
    lengths = np.full(2, 10, np.float32)
    assert len(set(speakers(vectors, lengths, tracks, Bounds()))) == 2
    assert len(set(speakers(vectors, lengths, [(0, 0), (1, 0)], Bounds()))) == 1


def test_average_linkage_agrees_with_its_definition() -> None:
    rng = np.random.default_rng(3)
    points = rng.standard_normal((30, 5))
    matrix = np.linalg.norm(points[:, None] - points[None], axis=2).astype(np.float32)
    groups = [[i] for i in range(30)]
    for merge in average_linkage(matrix):
        pairs = [(a, b) for i, a in enumerate(groups) for b in groups[i + 1 :]]
        closest = min(pairs, key=lambda pair: matrix[np.ix_(*pair)].mean())
        assert merge.distance == pytest.approx(matrix[np.ix_(*closest)].mean(), rel=1e-4)
        groups = [group for group in groups if group not in closest] + [closest[0] + closest[1]]


def test_a_tree_is_cut_into_the_groups_its_merges_made() -> None:
    matrix = np.array([[0, 1, 9, 9], [1, 0, 9, 9], [9, 9, 0, 2], [9, 9, 2, 0]], np.float32)
    tree = average_linkage(matrix)
    assert [merge.distance for merge in tree] == [1, 2, 9]
    assert list(cut(tree[:2], 4)) in ([0, 0, 1, 1], [1, 1, 0, 0])
