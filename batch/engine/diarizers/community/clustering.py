"""Which pieces of speech are the same person's, and how many people there are. Pure arithmetic on vectors.

Average-linkage agglomerative clustering by cosine distance. The tree is built by the nearest-neighbour chain
(F. Murtagh, "A survey of recent advances in hierarchical clustering algorithms", 1983), which takes time and memory
in the square of the number of vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.engine.diarizers.community.embedding import unit
from batch.engine.spans import Floats

Labels = NDArray[np.int64]

CUT = 0.6  # cosine distance beyond which voices are different people; flat between 0.60 and 0.70
SAME_WINDOW = 0.6  # added between two voices of one window, which the segmentation has told apart
SHORT_TRACK = 0.6  # seconds: shorter tracks have unreliable vectors and do not shape clusters
MOST_TRACKS = 4000  # the longest so many shape the clusters of a very long recording: 64 MB of distances
FAINT_SECONDS, FAINT_SHARE = 1.0, 0.015  # a cluster with less speech is noise, not a person
WEAK_SECONDS, WEAK_SHARE, WEAK_SIMILARITY = 4.0, 0.03, 0.3  # a small cluster like a bigger one is part of it
REAL_SHARE = 0.02  # of all speech: what counts as a person when their number is given, but at least
REAL_SECONDS, REAL_SHORT_SHARE = 2.0, 0.035  # two seconds, or this share in a short recording
LITTLE = (1.0, 0.5)  # seconds that must do for a person where more would mean to cut one voice in two
ROUNDS = 2


class Bounds(NamedTuple):
    """How many speakers there may be; None where nothing is known."""

    fewest: int | None = None
    most: int | None = None


class Merge(NamedTuple):
    """Two clusters, each named by one of its members, become one at this distance."""

    left: int
    right: int
    distance: float


def speakers(vectors: Floats, seconds: Floats, tracks: Sequence[tuple[int, int]], bounds: Bounds) -> Labels:
    """The speaker, 0 up to their number, of each piece.

    ``vectors`` are unit vectors, shape (pieces, width); ``seconds`` how long each piece is, shape (pieces,);
    ``tracks`` the window and the voice in it that each piece belongs to.
    """
    pooled, weights, windows = pool(vectors, seconds, tracks)
    chosen = _long_enough(weights)
    pooled, weights, windows = pooled[chosen], weights[chosen], windows[chosen]
    tree = average_linkage(distances(pooled, windows))
    labels = _within(bounds, tree, weights, _counted(tree, pooled, weights))
    return nearest(vectors, seconds, centroids(pooled, weights, labels))


def pool(vectors: Floats, seconds: Floats, tracks: Sequence[tuple[int, int]]) -> tuple[Floats, Floats, Labels]:
    """One unit vector, its seconds and its window for each track: a voice's mean over the pieces of one window."""
    names, owner = np.unique(np.array(tracks, np.int64).reshape(-1, 2), axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    weights = np.bincount(owner, seconds, len(names)).astype(np.float32)
    return centroids(vectors, seconds, owner), weights, names[:, 0]


def distances(vectors: Floats, windows: Labels) -> Floats:
    """Cosine distances, shape (tracks, tracks), larger between voices that one window has told apart."""
    apart = (windows[:, None] == windows[None, :]).astype(np.float32)
    np.fill_diagonal(apart, 0)
    cosines: Floats = vectors @ vectors.T
    return np.asarray(1 - cosines + SAME_WINDOW * apart, np.float32)


def average_linkage(matrix: Floats) -> list[Merge]:
    """The tree of merges, nearest first, for a symmetric matrix of distances, shape (n, n)."""
    matrix = matrix.copy()
    np.fill_diagonal(matrix, np.inf)
    sizes = np.ones(len(matrix))
    merges: list[Merge] = []
    chain: list[int] = []
    while len(merges) < len(matrix) - 1:
        if not chain:
            chain = [int(np.flatnonzero(sizes)[0])]
        here = chain[-1]
        there = int(matrix[here].argmin())
        if len(chain) > 1 and matrix[here, chain[-2]] <= matrix[here, there]:
            merges.append(_merge(matrix, sizes, chain.pop(), chain.pop()))
        else:
            chain.append(there)
    return sorted(merges, key=lambda merge: merge.distance)


def _merge(matrix: Floats, sizes: NDArray[np.float64], left: int, right: int) -> Merge:
    """Put cluster ``left`` into ``right``: average linkage by the Lance-Williams rule."""
    distance = float(matrix[left, right])
    row = (sizes[left] * matrix[left] + sizes[right] * matrix[right]) / (sizes[left] + sizes[right])
    row[right] = np.inf
    matrix[right] = matrix[:, right] = row
    matrix[left] = matrix[:, left] = np.inf
    sizes[right] += sizes[left]
    sizes[left] = 0
    return Merge(left, right, distance)


def cut(merges: Sequence[Merge], count: int) -> Labels:
    """Labels 0, 1, ... of ``count`` members after these merges."""
    parent = np.arange(count)
    for merge in merges:
        parent[parent == parent[merge.left]] = parent[merge.right]
    return np.unique(parent, return_inverse=True)[1].astype(np.int64)


def centroids(vectors: Floats, weights: Floats, labels: Labels) -> Floats:
    """The weighted mean of each label's vectors, as unit vectors, shape (labels, width). -1 is no label."""
    sums = np.zeros((int(labels.max(initial=-1)) + 1, vectors.shape[1]), np.float32)
    real = labels >= 0
    np.add.at(sums, labels[real], vectors[real] * weights[real, None])
    return unit(sums)


def nearest(vectors: Floats, weights: Floats, centres: Floats) -> Labels:
    """The label of the nearest centre for each vector, the centres moving after each round."""
    labels = _closest(vectors, centres)
    for _ in range(ROUNDS):
        moved = centroids(vectors, weights, labels)
        present = np.unique(labels)
        centres = centres.copy()
        centres[present] = moved[present]
        labels = _closest(vectors, centres)
    return labels


def _closest(vectors: Floats, centres: Floats) -> Labels:
    similarities: Floats = vectors @ centres.T
    labels: Labels = similarities.argmax(axis=1)
    return labels


def _long_enough(weights: Floats) -> Labels:
    """The tracks that shape the clusters, in order of time."""
    long = np.flatnonzero(weights >= SHORT_TRACK)
    if len(long) < 2:
        long = np.arange(len(weights))
    return np.sort(long[np.argsort(-weights[long], kind="stable")[:MOST_TRACKS]])


def _counted(tree: Sequence[Merge], vectors: Floats, weights: Floats) -> Labels:
    """Labels of the tracks when the number of speakers has to be found out. -1 for tracks of no one."""
    labels = cut([merge for merge in tree if merge.distance <= CUT], len(weights))
    labels = _keep(labels, weights, max(FAINT_SECONDS, FAINT_SHARE * float(weights.sum())))
    while (pair := _weak_pair(labels, vectors, weights)) is not None:
        labels = _renumbered(np.where(labels == pair[0], pair[1], labels))
    return labels


def _keep(labels: Labels, weights: Floats, least: float) -> Labels:
    """Labels of clusters with less than ``least`` seconds become -1; the largest always stays."""
    totals = np.bincount(labels, weights)
    kept = (totals >= least) | (totals == totals.max())
    return _renumbered(np.where(kept[labels], labels, -1))


def _renumbered(labels: Labels) -> Labels:
    """The same labels without holes, -1 untouched."""
    real = labels >= 0
    renumbered = np.full(len(labels), -1, np.int64)
    renumbered[real] = np.unique(labels[real], return_inverse=True)[1]
    return renumbered


def _weak_pair(labels: Labels, vectors: Floats, weights: Floats) -> tuple[int, int] | None:
    """A small cluster and the bigger one that it is like, if there is such a pair."""
    centres = centroids(vectors, weights, labels)
    totals = np.bincount(labels[labels >= 0], weights[labels >= 0])
    weak = max(WEAK_SECONDS, WEAK_SHARE * float(weights.sum()))
    for small in np.flatnonzero(totals < weak):
        likeness = np.where(totals > totals[small], centres @ centres[small], -1)
        if likeness.max() > WEAK_SIMILARITY:
            return int(small), int(likeness.argmax())
    return None


def _within(bounds: Bounds, tree: Sequence[Merge], weights: Floats, labels: Labels) -> Labels:
    """The labels as they are if their number is allowed, else those of the nearest allowed number."""
    count = int(labels.max()) + 1
    wanted = max(count, bounds.fewest or 1)
    wanted = min(wanted, bounds.most or wanted)
    return labels if wanted == count else _exactly(wanted, tree, weights)


def _exactly(count: int, tree: Sequence[Merge], weights: Floats) -> Labels:
    """The ``count`` heaviest clusters of the first cut from the top of the tree where so many have real weight.

    If that cuts what is one voice by its distance, people who say less are looked for first.
    """
    total = float(weights.sum())
    least = max(REAL_SHARE * total, min(REAL_SECONDS, REAL_SHORT_SHARE * total))
    for weight in (least, *(little for little in LITTLE if little < least)):
        merges = _merges_leaving(count, tree, weights, weight)
        if merges == len(tree) or tree[merges].distance >= CUT:
            break
    labels = cut(tree[:merges], len(weights))
    totals = np.bincount(labels, weights)
    heaviest = np.argsort(-totals, kind="stable")[:count]
    return _renumbered(np.where(np.isin(labels, heaviest), labels, -1))


def _merges_leaving(count: int, tree: Sequence[Merge], weights: Floats, least: float) -> int:
    """The most merges after which ``count`` clusters weigh ``least`` or more; else those that leave ``count``."""
    totals = weights.astype(np.float64)
    parts = {i: i for i in range(len(weights))}  # a merge names members; this finds the cluster that holds one now
    real = int((totals >= least).sum())
    best = max(0, len(weights) - count)
    found = None
    for done, merge in enumerate([*tree], start=1):
        left, right = _root(parts, merge.left), _root(parts, merge.right)
        real -= int(totals[left] >= least) + int(totals[right] >= least)
        totals[right] += totals[left]
        parts[left] = right
        real += int(totals[right] >= least)
        if real >= count:
            found = done
    return best if found is None else found


def _root(parts: dict[int, int], member: int) -> int:
    while parts[member] != member:
        parts[member] = member = parts[parts[member]]
    return member
