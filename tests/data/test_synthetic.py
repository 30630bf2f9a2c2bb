"""The drawn hands: that they are what they are called, and as hard as they were calibrated to be."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gpunet.data import synthetic
from gpunet.data.hand import (
    FINGER_RADII,
    KNUCKLES,
    PHALANGES,
    THUMB_BONES,
    THUMB_RADII,
    capsules,
    project,
    render,
    skeleton,
)
from gpunet.data.synthetic import LEFT_HANDED, SIGNERS, draw_frames, synthetic_digits

# American Sign Language, written down apart from the code under test. Fingers: index, middle, ring, little.
STANDING = {0: "", 1: "i", 2: "im", 3: "im", 4: "imrl", 5: "imrl", 6: "imr", 7: "iml", 8: "irl", 9: "mrl"}
TOUCHED_BY_THUMB = {0: "imrl", 1: "", 2: "", 3: "", 4: "", 5: "", 6: "l", 7: "r", 8: "m", 9: "i"}
STRETCHED_THUMB = {3, 5}


def finger_table(fingers: dict[int, str]) -> np.ndarray:
    """bool ``[10, 4]``: which fingers each digit names."""
    return np.array([[f in fingers[digit] for f in "imrl"] for digit in range(10)])


@pytest.fixture(scope="module")
def full():
    """Images, labels and the seconds they took."""
    start = time.process_time()  # of this process alone: other tests may run beside it
    images, labels = synthetic_digits()
    return images, labels, time.process_time() - start


@pytest.fixture(scope="module")
def frames():
    """Sixty frames of each digit, five by each signer: labels, signers, frames, joints ``[600, 5, 4, 3]``."""
    labels = np.repeat(np.arange(10), 60)
    signers = np.tile(np.arange(60) % SIGNERS, 10)
    drawn = draw_frames(labels, signers, np.random.default_rng(7))
    return labels, signers, drawn, skeleton(drawn.proportions, drawn.pose)


# The set


def test_full_set_has_the_reports_shape(full):
    images, labels, _ = full
    assert images.shape == (5000, 784) and images.dtype == np.uint8
    assert labels.shape == (5000,) and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [500] * 10
    assert np.count_nonzero(np.diff(labels)) > 4000  # shuffled: neighbours are seldom of one class


def test_full_set_takes_less_than_ten_seconds(full):
    assert full[2] < 10


def test_same_seed_gives_same_bits_and_another_gives_others():
    images, labels = synthetic_digits(3, per_class=15)
    again, labels_again = synthetic_digits(3, per_class=15)
    other, labels_other = synthetic_digits(4, per_class=15)
    assert np.array_equal(images, again) and np.array_equal(labels, labels_again)
    assert not np.array_equal(labels, labels_other)
    assert not {row.tobytes() for row in images} & {row.tobytes() for row in other}


def test_no_two_images_are_alike(full):
    assert len({row.tobytes() for row in full[0]}) == 5000


def test_note_says_that_hands_are_drawn_and_calibrated():
    for words in ("Drawn", "calibrated", "nothing about real hands"):
        assert words in synthetic.NOTE


@pytest.mark.parametrize("per_class", [1, 12, 31])
def test_signers_share_every_class_evenly(monkeypatch, per_class):
    seen = []
    monkeypatch.setattr(synthetic, "draw_frames", lambda *args: seen.append(args[:2]) or draw_frames(*args))
    _, labels = synthetic_digits(0, per_class)
    [(drawn_labels, signers)] = seen
    assert np.array_equal(labels, drawn_labels)
    counts = np.zeros((10, SIGNERS), int)
    np.add.at(counts, (labels, signers), 1)
    assert counts.max() - counts.min() <= 1 and counts.sum() == 10 * per_class


# The pictures


def test_background_is_black_and_edges_are_anti_aliased(full):
    pictures = full[0].reshape(-1, 28, 28)
    corners = pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.mean(corners == 0) > 0.95
    assert 0.2 < np.mean(pictures > 0) < 0.45
    hand = pictures[pictures > 0]
    assert len(np.unique(hand)) > 200
    assert np.mean(hand > 250) < 0.02  # grey, not saturated
    assert hand.std() > 30


def test_hands_fill_the_picture(full):
    pictures, labels = full[0].reshape(-1, 28, 28), full[1]
    heights = np.sum((pictures > 40).any(axis=2), axis=1)
    widths = np.sum((pictures > 40).any(axis=1), axis=1)
    for digit in range(10):
        assert 18 <= np.median(heights[labels == digit]) <= 28
        assert 9 <= np.median(widths[labels == digit]) <= 22
    assert np.mean((pictures[:, 0] > 40).any(axis=1)) < 0.15  # few fingertips leave it


def test_drawing_finer_gives_the_same_picture():
    labels = np.arange(10)
    drawn = draw_frames(labels, labels, np.random.default_rng(0))
    body = capsules(skeleton(drawn.proportions, drawn.pose), drawn.proportions)
    coarse = render(*body, drawn.view)
    fine = render(*body, drawn.view, side=112).reshape(10, 28, 4, 28, 4).mean(axis=(2, 4))
    assert np.mean(np.abs(fine - coarse)) < 0.01
    for picture, finer in zip(coarse, fine, strict=True):
        assert np.corrcoef(picture.ravel(), finer.ravel())[0, 1] > 0.97


def test_straight_capsule_has_its_area_and_its_depth_order():
    _, _, drawn, _ = some_hands()
    view = drawn.view
    body, radii = np.zeros((1, 1, 2, 3)), np.full((1, 1, 2), 1.5)
    body[0, 0, :, 1] = 4.0, 12.0
    picture = render(body, radii, view)
    area = (3.0 * 8.0 + np.pi * 1.5**2) * view.scale[0] ** 2
    covered = np.count_nonzero(render(body, radii, view, side=448)) / 256
    assert covered == pytest.approx(area, rel=0.03)
    # A darker, smaller capsule behind the first changes nothing; in front of it, it shows.
    behind, front = np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 3.0])
    both = np.concatenate([radii, radii / 3], axis=1)
    assert np.allclose(render(np.concatenate([body, body + behind], axis=1), both, view), picture)
    assert not np.allclose(render(np.concatenate([body, body + front], axis=1), both, view), picture)


def some_hands():
    """One frame of a 5 by the first signer, seen from straight ahead, without chance."""
    labels, signers = np.array([5]), np.array([0])
    drawn = draw_frames(labels, signers, np.random.default_rng(0))
    for name, value in {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "right": 14.0}.items():
        getattr(drawn.view, name)[:] = value
    return labels, signers, drawn, skeleton(drawn.proportions, drawn.pose)


def test_left_hand_is_the_mirror_image(frames):
    labels, signers, drawn, joints = frames
    assert 1 <= len(LEFT_HANDED) < SIGNERS / 2
    assert np.array_equal(drawn.view.left_handed, np.isin(signers, LEFT_HANDED))
    # Palm to the viewer, the thumb of a right hand stands out to the right.
    columns = project(joints, drawn.view)[labels == 5, :, 3, 0]
    thumb_is_right = columns[:, 0] > columns[:, 1:].max(axis=1)
    assert np.array_equal(thumb_is_right, ~drawn.view.left_handed[labels == 5])

    _, _, one, bones = some_hands()
    one.view.light_x[:] = 0
    body = capsules(bones, one.proportions)
    right = render(*body, one.view)
    one.view.left_handed[:] = True
    assert np.allclose(render(*body, one.view), right[:, :, ::-1], atol=1e-3)


# The hands


def test_fingers_that_stand_are_those_of_the_sign(frames):
    labels, _, drawn, joints = frames
    lengths = PHALANGES.sum(axis=1) * drawn.proportions.finger_length[:, 1:]
    reach = np.linalg.norm(joints[:, 1:, 3] - joints[:, 1:, 0], axis=-1) / lengths  # 1 is a straight finger
    rise = (joints[:, 1:, 3, 1] - joints[:, 1:, 0, 1]) / lengths  # 1 points straight up
    standing = finger_table(STANDING)[labels]
    assert reach[standing].min() > 0.93 and rise[standing].min() > 0.65
    assert reach[~standing].max() < 0.92 and rise[~standing].max() < 0.5


def test_thumb_touches_the_fingers_of_the_sign_and_no_other(frames):
    labels, _, _, joints = frames
    distance = np.linalg.norm(joints[:, :1, 3] - joints[:, 1:, 3], axis=-1)  # cm between the middles of the tips
    touched = finger_table(TOUCHED_BY_THUMB)[labels]
    one = labels >= 6
    pressed = (THUMB_RADII[3] + FINGER_RADII[:, 3]) * 1.2  # cm: skin meets, for a thick hand too
    assert np.all((distance < pressed)[one] == touched[one])
    # In the O four tips crowd about the thumb's: none can be nearer than the fingers beside it let it.
    assert distance[labels == 0].max() < 4 and np.median(distance[labels == 0]) < 2.5
    assert distance[(labels >= 1) & (labels <= 5)].min() > pressed.max()


def test_thumb_is_stretched_only_where_the_sign_says_so(frames):
    labels, _, drawn, joints = frames
    bones = np.linalg.norm(np.diff(joints[:, 0], axis=1), axis=-1)
    assert np.allclose(bones, THUMB_BONES * drawn.proportions.finger_length[:, :1])
    aside = joints[:, 0, 3, 0] - joints[:, 1, 0, 0]  # cm from the index's knuckle to the thumb's side
    stretched = np.isin(labels, list(STRETCHED_THUMB))
    assert aside[stretched].min() > 3
    assert aside[~stretched].max() < 2


def test_bones_keep_their_length_whatever_the_pose(frames):
    _, _, drawn, joints = frames
    bones = np.linalg.norm(np.diff(joints[:, 1:], axis=2), axis=-1)
    assert np.allclose(bones, PHALANGES * drawn.proportions.finger_length[:, 1:, None])
    assert np.all(np.abs(joints[:, 1:, 0, :2] / KNUCKLES[:, :2] - 1) < 0.25)


def test_a_signer_is_one_person_in_all_frames(frames):
    _, signers, drawn, _ = frames
    for name in ("finger_length", "thickness", "palm_width", "palm_length"):
        values = getattr(drawn.proportions, name)
        own = [np.unique(values[signers == signer], axis=0) for signer in range(SIGNERS)]
        assert [len(v) for v in own] == [1] * SIGNERS
        assert len(np.unique(np.concatenate(own), axis=0)) > 1


# The calibration


def ridge_recall(images: np.ndarray, labels: np.ndarray, train: int = 3200, penalty: float = 100.0) -> np.ndarray:
    """Recall of each class on the rows after ``train`` of one-against-all ridge regression on the rows before."""
    x = np.hstack([images / np.float64(255), np.ones((len(images), 1))])
    seen, unseen = x[:train], x[train:]
    weights = np.linalg.solve(seen.T @ seen + penalty * np.eye(x.shape[1]), seen.T @ np.eye(10)[labels[:train]])
    hits = (unseen @ weights).argmax(axis=1) == labels[train:]
    counts = np.bincount(labels[train:], minlength=10)
    return np.bincount(labels[train:], weights=hits, minlength=10) / np.maximum(counts, 1)


def test_difficulty_is_as_calibrated(full):
    # 0.897 where the reports' models reach 0.897, 0.957 and 0.966. In version 1 of the drawings it was 0.895, with all
    # deviations of pose and camera a tenth smaller 0.923, a tenth larger 0.870.
    images, labels, _ = full
    recall = ridge_recall(images, labels)
    assert 0.875 < recall.mean() < 0.915
    assert min(recall[[0, 1, 9]]) > 0.93
    assert max(recall[[4, 7]]) < 0.85


def test_four_and_nine_are_told_apart(full):
    images, labels, _ = full
    rows = np.isin(labels, (4, 9))
    recall = ridge_recall(images[rows], labels[rows], train=800)[[4, 9]]
    assert recall.min() > 0.95


def test_the_numpy_report_s_model_reads_four_and_nine_as_it_did_theirs(full):
    """100 %, 99.5 % and 100 % in the report's three runs; here within a point of 100 on average."""
    from gpunet import MLP, SGD, train
    from gpunet.data import stratified_split

    images, labels, _ = full
    rows = np.isin(labels, (4, 9))
    images, nines = images[rows], (labels[rows] == 9).astype(int)
    right = []
    for seed in range(6):
        split = stratified_split(nines, seed=seed, validation=0.0)
        network = MLP((784, 10, 1), "sigmoid", loss="binary_cross_entropy", init="normal", seed=seed)
        options = dict(optimizer=SGD(0.1), epochs=10, batch_size=1, shuffle="once")
        train(network, images, nines, split.train, **options)
        right.append(np.mean(network.predict(images[split.test]) == nines[split.test]))
    assert 0.99 <= np.mean(right) <= 1
