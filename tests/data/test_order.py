"""The training sequence: a pure function of (seed, position) that visits each ref once a pass."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amlrepro.data.order import TrainingOrder, hash_integers, permutation, splitmix64
from amlrepro.errors import UserError

orders = st.builds(
    TrainingOrder,
    seed=st.integers(0, 2**40),
    n_refs=st.integers(1, 60),
    batch=st.integers(1, 12),
    epoch_refs=st.one_of(st.none(), st.integers(1, 100)),
)


def test_splitmix64_reference_outputs() -> None:
    # first three outputs of the reference generator seeded with 0
    gamma = 0x9E3779B97F4A7C15
    states = np.array([0, gamma, (2 * gamma) % 2**64], dtype=np.uint64)
    assert [f"{v:016X}" for v in splitmix64(states)] == ["E220A8397B1DCDAF", "6E789E6AA1B965F4", "06C45D188009454F"]


@given(orders)
def test_each_ref_is_visited_once_a_pass(order: TrainingOrder) -> None:
    for number in range(3):
        positions = np.arange(number * order.n_refs, (number + 1) * order.n_refs)
        assert sorted(order.refs(positions)) == list(range(order.n_refs))


@given(orders)
def test_an_epoch_over_all_refs_repeats_none_and_drops_less_than_a_batch(order: TrainingOrder) -> None:
    if order.epoch_refs is not None or order.n_refs < order.batch:
        return
    steps = order.steps_per_epoch
    assert steps == order.n_refs // order.batch
    for epoch in range(3):
        visited = Counter[int]()
        for step in range(steps):
            visited.update(order.refs(order.positions(epoch * steps + step)).tolist())
        assert max(visited.values()) == 1
        assert order.n_refs - len(visited) < order.batch


@given(orders)
def test_epochs_of_a_given_size_follow_without_gap(order: TrainingOrder) -> None:
    if order.epoch_refs is None and order.n_refs >= order.batch:
        return
    assert order.steps_per_epoch == max(1, (order.epoch_refs or order.n_refs) // order.batch)
    joined = np.concatenate([order.positions(update) for update in range(5)])
    assert joined.tolist() == list(range(5 * order.batch))


@given(orders, st.integers(0, 10**6), st.integers(1, 4))
def test_ranks_share_a_batch_and_nothing_else(order: TrainingOrder, update: int, world: int) -> None:
    whole = order.positions(update)
    assert len(whole) == order.batch
    if world > order.batch:
        with pytest.raises(UserError, match="more processes than samples"):
            order.positions(update, 0, world)
    else:
        shares = [order.positions(update, rank, world) for rank in range(world)]
        assert np.concatenate(shares).tolist() == whole.tolist()
        assert {len(share) for share in shares} <= {order.batch // world, -(-order.batch // world)}


@given(orders, st.lists(st.integers(0, 10**7), min_size=1, max_size=8))
@settings(max_examples=50)
def test_asking_alone_or_together_gives_the_same(order: TrainingOrder, places: list[int]) -> None:
    positions = np.array(places, dtype=np.int64)
    counts = np.full(len(places), 3, dtype=np.int64)
    alone = [order.refs(positions[i : i + 1])[0] for i in range(len(places))]
    assert order.refs(positions).tolist() == alone
    drawn = [order.sentences(positions[i : i + 1], counts[:1])[0] for i in range(len(places))]
    assert order.sentences(positions, counts).tolist() == drawn


def test_sentences_are_drawn_uniformly_and_anew() -> None:
    order = TrainingOrder(seed=3, n_refs=10, batch=2)
    n = 30_000
    drawn = order.sentences(np.arange(n), np.full(n, 3))
    counts = np.bincount(drawn, minlength=3)
    assert counts.sum() == n
    # binomial(30000, 1/3): deviation 81.6; five of them
    assert np.abs(counts - n / 3).max() < 5 * (n * (1 / 3) * (2 / 3)) ** 0.5
    # the draw of one ref changes from pass to pass: 10 refs, 3000 passes, independence of consecutive draws
    pairs = np.bincount(3 * drawn[:-1] + drawn[1:], minlength=9)
    assert np.abs(pairs - (n - 1) / 9).max() < 5 * (n * (1 / 9) * (8 / 9)) ** 0.5
    assert order.sentences(np.arange(100), np.ones(100, dtype=np.int64)).max() == 0


def test_permutations_are_uniform_and_differ_by_seed_and_pass() -> None:
    seen = Counter(tuple(permutation(0, number, 3).tolist()) for number in range(6000))
    assert len(seen) == 6
    # binomial(6000, 1/6): deviation 28.9
    assert max(abs(n - 1000) for n in seen.values()) < 5 * 28.9
    assert permutation(0, 0, 50).tolist() != permutation(1, 0, 50).tolist()
    assert permutation(0, 0, 50).tolist() != permutation(0, 1, 50).tolist()


def test_the_sequence_never_changes() -> None:
    # From a rewrite of the definition in plain integers. A change here changes every run, so it needs a new `data`
    # version in config.VERSIONS.
    assert permutation(0, 0, 8).tolist() == [1, 6, 5, 4, 3, 7, 2, 0]
    order = TrainingOrder(0, 8, 4)
    assert order.sentences(np.arange(8), np.full(8, 5)).tolist() == [4, 1, 1, 4, 1, 0, 4, 2]
    assert hash_integers(1, 2) != hash_integers(2, 1)
