"""Drawn hands that sign the digits: the stand-in for the reports' photographs when these cannot be had.

A fixed cast of signers (proportions, skin, habits) holds up each digit; every image is one frame of that: the same hand
a little turned, moved, bent and lit otherwise. The seed picks the frames, never the cast, so that all seeds are about
equally hard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.data.dataset import PIXELS
from gpunet.data.hand import Pose, Proportions, View, capsules, render, skeleton

VERSION = 2  # of the drawings: raised whenever a seed gives other pixels, so that caches notice
NOTE = (
    "Drawn hands, not photographs: their variety was calibrated so that the reports' models score on them about as "
    "they did on the reports' own file, and results on them prove nothing about real hands."
)

CLASSES = 10
SIGNERS = 12
LEFT_HANDED = (3, 8)  # signers drawn mirrored
CAST_SEED = 2024  # of the signers and their habits; another cast would need another calibration
MAX_DEVIATION = 2.0  # standard deviations at which every draw is clipped, so that no hand is deformed


@dataclass(frozen=True)
class Dial:
    """How one property of a picture varies: a mean and three standard deviations, all in the property's unit.

    signer: between people. take: between one person's digits. frame: between the pictures of one take.
    size: how many numbers of the kind a picture needs.
    """

    mean: float
    signer: float
    take: float
    frame: float
    size: int = 1


# The calibration: what follows, and `variety` in SIGNS. On seed 0 the reports' models reach a mean test accuracy of
# 0.897 (base), 0.957 (exp1), 0.966 (exp2) and 0.993 (the NumPy report's) over five splits; base finds 7, 6 and 4
# hardest and 0 and 1 easiest, as theirs did. Smaller deviations make the set easier, larger ones harder.
DIALS = {
    # the person (1 is the hand of the tables in hand.py)
    "finger_length": Dial(1.0, 0.05, 0.0, 0.0, size=5),
    "all_fingers": Dial(1.0, 0.05, 0.0, 0.0),  # multiplies finger_length
    "thickness": Dial(1.0, 0.09, 0.0, 0.0),
    "palm_width": Dial(1.0, 0.06, 0.0, 0.0),
    "palm_length": Dial(1.0, 0.04, 0.0, 0.0),
    "sleeve": Dial(4.5, 1.5, 0.5, 0.5),  # cm of forearm below the wrist
    # how the sign is held, degrees and centimetres
    "straightness": Dial(0.0, 4.0, 2.1, 1.45),  # bend of the standing fingers, all together
    "bend": Dial(0.0, 2.0, 1.4, 2.2, size=4),  # and each on its own
    "curl": Dial(0.0, 4.0, 2.8, 2.9),  # bend of the folded fingers
    "fan": Dial(1.0, 0.2, 0.1, 0.07),  # multiplies the spread of the fingers
    "sway": Dial(0.0, 1.0, 1.4, 1.45, size=4),  # sideways, each finger on its own
    "thumb": Dial(0.0, 0.3, 0.21, 0.22, size=3),  # where the thumb goes when it touches no finger
    # the camera: degrees, pixels, pixels a centimetre
    "yaw": Dial(0.0, 6.0, 3.5, 3.6),
    "pitch": Dial(0.0, 5.0, 2.8, 2.9),
    "roll": Dial(0.0, 5.0, 2.8, 3.6),
    "right": Dial(14.0, 0.5, 0.35, 0.58),
    "down": Dial(15.9, 0.5, 0.35, 0.58),
    "scale": Dial(1.22, 0.05, 0.02, 0.02),
    # light and sensor
    "light_x": Dial(0.0, 0.25, 0.1, 0.15),
    "light_y": Dial(-0.55, 0.15, 0.1, 0.1),
    "ambient": Dial(0.25, 0.05, 0.02, 0.02),
    "brightness": Dial(0.66, 0.10, 0.03, 0.03),
    "grain": Dial(0.02, 0.004, 0.0, 0.004),  # standard deviation of a pixel's noise, of 1
}

STANDING = (4.0, 7.0, 4.0)  # flexion of a finger held up, degrees at its three joints
FOLDED = (82.0, 100.0, 60.0)
SPREAD = (7.0, 1.0, -6.0, -14.0)  # of the four fingers, degrees; at rest they point away from one another


@dataclass(frozen=True)
class Sign:
    """One digit as it is meant to look. Fingers: 0 index, 1 middle, 2 ring, 3 little. Those not named are folded.

    up: fingers that stand. touching: fingers whose tips the thumb meets, bent by ``bend`` degrees at their joints.
    thumb: where its tip goes if it touches none, cm in the hand's frame. spread, oppose: see `hand.Pose`.
    yaw, down, scale: what this sign adds to the dials of these names (scale multiplies).
    variety: multiplies what take and frame change; the dial by which single classes were made easier or harder.
    """

    up: tuple[int, ...] = ()
    touching: tuple[int, ...] = ()
    bend: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spread: tuple[float, float, float, float] = SPREAD
    oppose: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    thumb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0
    down: float = 0.0
    scale: float = 1.0
    variety: float = 1.0


OPEN_THUMB = (9.6, 8.6, 1.2)  # cm, just out of reach, so that the thumb is stretched
V_FINGERS = (11.0, -7.0, -4.0, -8.0)  # index and middle finger parted
SIGNS = (
    Sign(
        touching=(0, 1, 2, 3),
        bend=(45.0, 62.0, 45.0),
        spread=(-6.0, 0.0, 5.0, 10.0),
        oppose=(-9.0, 0.0, 8.0, 18.0),
        yaw=68.0,
        down=-1.0,
        scale=1.15,
    ),
    Sign(up=(0,), thumb=(0.6, 8.8, 4.3)),
    Sign(up=(0, 1), spread=V_FINGERS, thumb=(-0.6, 8.1, 4.3), variety=0.7),
    Sign(up=(0, 1), spread=V_FINGERS, thumb=OPEN_THUMB, variety=1.4),
    Sign(up=(0, 1, 2, 3), thumb=(-1.0, 6.6, 2.2), variety=1.65),
    Sign(up=(0, 1, 2, 3), spread=(11.0, 2.0, -8.0, -19.0), thumb=OPEN_THUMB, variety=0.9),
    Sign(up=(0, 1, 2), touching=(3,), bend=(65.0, 50.0, 30.0), oppose=(0.0, 0.0, 0.0, 25.0), variety=1.15),
    Sign(up=(0, 1, 3), touching=(2,), bend=(65.0, 55.0, 30.0), oppose=(0.0, 0.0, 12.0, 0.0), variety=0.78),
    Sign(up=(0, 2, 3), touching=(1,), bend=(60.0, 60.0, 30.0), variety=0.78),
    Sign(up=(1, 2, 3), touching=(0,), bend=(50.0, 62.0, 35.0), yaw=-12.0, variety=0.7),
)


def synthetic_digits(seed: int = 0, per_class: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 ``[10 * per_class, 784]`` (row-major 28 x 28, 0 is black) and labels int64 of drawn hands, shuffled.

    Each class is shared out evenly among the signers. The same seed gives the same bits, on one machine with one NumPy.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES, dtype=np.int64), per_class)
    signers = np.tile(np.arange(per_class) % SIGNERS, CLASSES)
    order = rng.permutation(len(labels))
    labels, signers = labels[order], signers[order]
    frame = draw_frames(labels, signers, rng)
    images = render(*capsules(skeleton(frame.proportions, frame.pose), frame.proportions), frame.view)
    # A sensor's noise grows with the light it gets, and none of it is left where the hand was cut out.
    images += frame.grain[:, None, None] * np.sqrt(images) * rng.standard_normal(images.shape, np.float32)
    images = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return images.reshape(-1, PIXELS), labels


@dataclass(frozen=True)
class Frames:
    """All that is drawn by chance for n pictures. grain: float32 ``[n]``, strength of the noise."""

    proportions: Proportions
    pose: Pose
    view: View
    grain: np.ndarray


def draw_frames(labels: np.ndarray, signers: np.ndarray, rng: np.random.Generator) -> Frames:
    """The hand, pose and view of a new frame for each label (int ``[n]``, 0..9) and signer (int ``[n]``, 0..11)."""
    dial = {name: _turn(name, labels, signers, rng) for name in DIALS}
    proportions = Proportions(
        finger_length=dial["finger_length"] * dial["all_fingers"][:, None],
        thickness=dial["thickness"],
        palm_width=dial["palm_width"],
        palm_length=dial["palm_length"],
        sleeve=dial["sleeve"],
    )

    def signs(values: list) -> np.ndarray:
        return np.array(values, dtype=np.float64)[labels]

    fingers = range(4)
    up = signs([[f in s.up for f in fingers] for s in SIGNS])[..., None]
    touching = signs([[f in s.touching for f in fingers] for s in SIGNS])[..., None]
    folded = 1 - up - touching
    standing = np.maximum(np.array(STANDING) + (dial["straightness"][:, None] + dial["bend"])[..., None], -2)
    curled = np.array(FOLDED) + (dial["curl"][:, None] + dial["bend"])[..., None]
    bent = signs([s.bend for s in SIGNS])[:, None] + dial["bend"][..., None]
    shared = touching[..., 0] / np.maximum(touching.sum(axis=1), 1)
    pose = Pose(
        flexion=up * standing + folded * curled + touching * bent,
        spread=signs([s.spread for s in SIGNS]) * dial["fan"][:, None] + dial["sway"],
        oppose=signs([s.oppose for s in SIGNS]),
        touching=shared,
        thumb_target=signs([s.thumb for s in SIGNS]) + dial["thumb"],
    )
    view = View(
        yaw=dial["yaw"] + signs([s.yaw for s in SIGNS]),
        pitch=dial["pitch"],
        roll=dial["roll"],
        right=dial["right"],
        down=dial["down"] + signs([s.down for s in SIGNS]),
        scale=dial["scale"] * signs([s.scale for s in SIGNS]),
        left_handed=np.isin(signers, LEFT_HANDED),
        light_x=dial["light_x"],
        light_y=dial["light_y"],
        ambient=dial["ambient"],
        brightness=dial["brightness"],
    )
    return Frames(proportions, pose, view, dial["grain"].astype(np.float32))


def _turn(name: str, labels: np.ndarray, signers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dial's value for each picture, float64 ``[n]`` or ``[n, size]``: its mean and what signer, take, frame add."""
    dial = DIALS[name]
    cast = np.random.default_rng([CAST_SEED, *name.encode()])  # one stream a dial: a new dial changes no other

    def normal(generator: np.random.Generator, *shape: int) -> np.ndarray:
        return np.clip(generator.standard_normal((*shape, dial.size)), -MAX_DEVIATION, MAX_DEVIATION)

    value = dial.mean + dial.signer * normal(cast, SIGNERS)[signers]
    variety = np.array([s.variety for s in SIGNS])[labels, None]
    value += dial.take * variety * normal(cast, SIGNERS, CLASSES)[signers, labels]
    value += dial.frame * variety * normal(rng, len(labels))
    return value[:, 0] if dial.size == 1 else value
