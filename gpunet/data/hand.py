"""A jointed hand as a skeleton of capsules, and the renderer that draws many of them at once.

Everything is an array over n hands. Lengths are centimetres, angles degrees. A hand stands in a frame of its own: the
wrist is the origin, +x points to the thumb's side, +y to the fingertips, +z out of the palm, to whoever looks at it.
So a right hand held up, palm forward, shows its thumb on the right; a left hand is the mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.data.dataset import IMAGE_SIDE

THUMB, INDEX, MIDDLE, RING, LITTLE = range(5)

# An adult's right hand. Rows: index, middle, ring, little; the thumb apart, since it starts at the wrist.
KNUCKLES = np.array([[2.95, 9.2, 0.0], [0.95, 9.6, -0.2], [-1.1, 9.15, -0.1], [-2.9, 8.2, 0.1]])
PHALANGES = np.array([[4.3, 2.6, 2.1], [4.7, 3.0, 2.2], [4.4, 2.8, 2.2], [3.4, 2.1, 1.9]])
THUMB_ROOT = np.array([2.3, 2.2, 0.8])
THUMB_BONES = np.array([4.4, 3.3, 2.6])
# Radii at the four joints of a digit, from the root to the tip.
FINGER_RADII = np.array(
    [[1.1, 0.98, 0.86, 0.7], [1.12, 1.0, 0.88, 0.72], [1.08, 0.95, 0.84, 0.68], [0.95, 0.82, 0.72, 0.6]]
)
THUMB_RADII = np.array([1.6, 1.25, 1.05, 0.82])
PALM_RADIUS = 1.2  # half the palm's thickness
PALM_RAYS = 9  # capsules from the wrist to the row of knuckles; so many that no furrow shows between them
WRIST_HALF_WIDTH = 2.0
FOREARM_RADIUS = 1.9
FOREARM_HALF_WIDTH = 0.9  # between the axes of its two capsules and its middle
HAND_CENTRE = np.array([0.0, 8.7, 0.0])  # the point that the view turns about, and whose place in the picture it gives

# The thumb's bones before they reach for their target; from here the chain bends the way a thumb does, joint outward.
THUMB_START = np.array([[0.50, 0.60, 0.60], [0.0, 0.80, 0.50], [-0.60, 0.60, 0.20]])
REACH_ROUNDS = 12

SUPERSAMPLE = 2  # samples a pixel, each way
CHUNK = 125  # hands drawn together: buffers that stay in a core's cache
FAR = np.float32(-1e4)  # depth of the background
SHADOW_REACH = (0.7, 2.0)  # px, half widths of the two blurs of the depth whose excess over the depth is shadow
SHADOW_FULL = (1.0, 2.5)  # px of excess at which each shadow is complete
SHADOW_STRENGTH = (0.45, 0.45)  # light that each takes at most
NEARNESS = 0.035  # brightness gained a px of depth towards the viewer


@dataclass(frozen=True)
class Proportions:
    """What makes one person's hand. Arrays over n hands, 1 is the hand of the tables above.

    finger_length ``[n, 5]`` (thumb first), thickness ``[n]``, palm_width ``[n]``, palm_length ``[n]``;
    sleeve ``[n]``: cm of forearm that show.
    """

    finger_length: np.ndarray
    thickness: np.ndarray
    palm_width: np.ndarray
    palm_length: np.ndarray
    sleeve: np.ndarray


@dataclass(frozen=True)
class Pose:
    """How the hand is held. Angles in degrees, float64, index to little finger in the axis of 4.

    flexion ``[n, 4, 3]``: of each joint, 0 is straight, positive closes the hand.
    spread ``[n, 4]``: of the finger from the hand's axis, positive to the thumb's side.
    oppose ``[n, 4]``: how far the finger bends sideways, to the thumb, instead of straight at the palm.
    touching ``[n, 4]``: share of each fingertip in the point that the thumb's tip touches; a row sums to 1, or to 0
    where the thumb goes to ``thumb_target`` ``[n, 3]`` instead (cm, for a palm of usual size).
    """

    flexion: np.ndarray
    spread: np.ndarray
    oppose: np.ndarray
    touching: np.ndarray
    thumb_target: np.ndarray


@dataclass(frozen=True)
class View:
    """How the hand is seen and lit. Arrays ``[n]``.

    yaw, pitch, roll: degrees, about the hand's y, x and z axes in this order; positive yaw turns the thumb's side to
    the viewer, positive roll tips the fingers away from it.
    right, down: px, where the hand's centre lies. scale: px a cm. left_handed: bool.
    light_x, light_y: where the light comes from, as slopes to the right and downwards; 0 is the viewer's own place.
    ambient: share of the light that has no direction.
    brightness: 0..1, of skin that faces the light.
    """

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    right: np.ndarray
    down: np.ndarray
    scale: np.ndarray
    left_handed: np.ndarray
    light_x: np.ndarray
    light_y: np.ndarray
    ambient: np.ndarray
    brightness: np.ndarray


def skeleton(proportions: Proportions, pose: Pose) -> np.ndarray:
    """Joints ``[n, 5, 4, 3]`` float64 in cm: thumb to little finger, root to tip, in the hand's own frame."""
    palm = np.stack([proportions.palm_width, proportions.palm_length, proportions.thickness], axis=-1)
    bend = np.radians(np.cumsum(pose.flexion, axis=-1))
    spread, oppose = np.radians(pose.spread), np.radians(pose.oppose)
    zero = np.zeros_like(spread)
    along = np.stack([np.sin(spread), np.cos(spread), zero], axis=-1)
    side = np.stack([np.cos(spread), -np.sin(spread), zero], axis=-1)
    inward = np.sin(oppose)[..., None] * side + np.cos(oppose)[..., None] * np.array([0.0, 0.0, 1.0])

    def direction(angle: np.ndarray) -> np.ndarray:
        return np.cos(angle)[..., None] * along[:, :, None] + np.sin(angle)[..., None] * inward[:, :, None]

    bones = PHALANGES * proportions.finger_length[:, 1:, None]
    joints = np.empty((len(bend), 5, 4, 3))
    joints[:, 1:, 0] = KNUCKLES * palm[:, None]
    joints[:, 1:, 1:] = joints[:, 1:, :1] + np.cumsum(direction(bend) * bones[..., None], axis=2)

    # The soft side of each fingertip, where the thumb's tip lies when both pads are pressed together.
    pads = direction(bend[..., 2:] + np.pi / 2)[:, :, 0]
    gap = 0.85 * (FINGER_RADII[:, 3] + THUMB_RADII[3]) * proportions.thickness[:, None]
    contacts = joints[:, 1:, 3] + gap[..., None] * pads
    touched = pose.touching.sum(axis=-1, keepdims=True)
    target = np.einsum("nf,nfc->nc", pose.touching, contacts) + (1 - touched) * pose.thumb_target * palm
    joints[:, 0] = _reach(THUMB_ROOT * palm, THUMB_BONES * proportions.finger_length[:, :1], target)
    return joints


def _reach(root: np.ndarray, bones: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The thumb's joints ``[n, 4, 3]`` with its tip on the target, or as near as its bones ``[n, 3]`` allow.

    FABRIK (Aristidou and Lasenby, 2011): alternately hang the chain on the target and back on its root.
    """
    start = THUMB_START / np.linalg.norm(THUMB_START, axis=-1, keepdims=True)
    chain = np.concatenate([root[:, None], root[:, None] + np.cumsum(bones[..., None] * start, axis=1)], axis=1)

    def pull(to: int, fixed: int) -> None:
        away = chain[:, to] - chain[:, fixed]
        length = bones[:, min(to, fixed)] / np.linalg.norm(away, axis=-1)
        chain[:, to] = chain[:, fixed] + length[:, None] * away

    for _ in range(REACH_ROUNDS):
        chain[:, 3] = target
        for joint in (2, 1, 0):
            pull(joint, joint + 1)
        chain[:, 0] = root
        for joint in (1, 2, 3):
            pull(joint, joint - 1)
    return chain


def capsules(joints: np.ndarray, proportions: Proportions) -> tuple[np.ndarray, np.ndarray]:
    """The body of the hand: ends ``[n, S, 2, 3]`` and radii ``[n, S, 2]`` in cm of its S tapered capsules."""
    n = len(joints)
    ends: list[np.ndarray] = []
    radii: list[tuple[float, float]] = []

    def add(a: np.ndarray, b: np.ndarray, ra: float, rb: float) -> None:
        ends.append(np.stack([np.broadcast_to(a, (n, 3)), np.broadcast_to(b, (n, 3))], axis=1))
        radii.append((ra, rb))

    palm = np.stack([proportions.palm_width, proportions.palm_length, proportions.thickness], axis=-1)
    for side in (-FOREARM_HALF_WIDTH, FOREARM_HALF_WIDTH):
        elbow = np.stack([np.full(n, side), -proportions.sleeve, np.zeros(n)], axis=-1)
        add(elbow, np.array([side, 0.8, 0.0]) * palm, FOREARM_RADIUS, FOREARM_RADIUS * 0.85)
    for ray in np.linspace(0, 3, PALM_RAYS):
        left = min(int(ray), 2)
        top = (1 - ray + left) * joints[:, 1 + left, 0] + (ray - left) * joints[:, 2 + left, 0]
        bottom = np.array([WRIST_HALF_WIDTH * (1 - 2 * ray / 3), 1.2, 0.0]) * palm
        add(bottom, top, PALM_RADIUS * 1.1, PALM_RADIUS * 0.9)
    # The heel of the hand, and the balls of the little finger and of the thumb.
    add(np.array([-1.3, 1.9, 0.2]) * palm, np.array([1.5, 1.9, 0.2]) * palm, 1.5, 1.5)
    add(np.array([-1.7, 2.2, 0.4]) * palm, np.array([-2.6, 5.4, 0.3]) * palm, 1.45, 1.2)
    add(np.array([1.3, 2.6, 0.3]) * palm, np.array([2.2, 5.4, 0.2]) * palm, 1.55, 1.25)
    # The web between thumb and index, two folds of it.
    edge = np.array([2.3, 6.2, 0.1]) * palm
    add(joints[:, 0, 1], edge, 0.9, 1.1)
    add((joints[:, 0, 0] + joints[:, 0, 1]) / 2, edge, 1.3, 1.1)
    for digit in range(5):
        radius = THUMB_RADII if digit == THUMB else FINGER_RADII[digit - 1]
        for bone in range(3):
            add(joints[:, digit, bone], joints[:, digit, bone + 1], radius[bone], radius[bone + 1])
    return np.stack(ends, axis=1), np.array(radii) * proportions.thickness[:, None, None]


def project(points: np.ndarray, view: View) -> np.ndarray:
    """Points ``[n, ..., 3]`` of the hand's frame, cm, on the picture: column, row and depth in px, float64."""
    shape = (len(points),) + (1,) * (points.ndim - 2)

    def turn(p: np.ndarray, q: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = np.radians(degrees).reshape(shape)
        return np.cos(angle) * p - np.sin(angle) * q, np.sin(angle) * p + np.cos(angle) * q

    x, y, z = np.moveaxis(points - HAND_CENTRE, -1, 0)
    x, z = turn(x, z, view.yaw)
    y, z = turn(y, z, view.pitch)
    x, y = turn(x, y, view.roll)
    x = np.where(view.left_handed.reshape(shape), -x, x)
    scale = view.scale.reshape(shape)
    return np.stack([view.right.reshape(shape) + scale * x, view.down.reshape(shape) - scale * y, scale * z], axis=-1)


def render(ends: np.ndarray, radii: np.ndarray, view: View, side: int = IMAGE_SIDE) -> np.ndarray:
    """Grey images float32 ``[n, side, side]`` in 0..1 of the hands made of these capsules (see `capsules`).

    ``side``: px; 28 is the data set's, more draws the same picture finer.
    """
    zoom = SUPERSAMPLE * side / IMAGE_SIDE
    ends = (project(ends, view) * zoom).astype(np.float32)
    radii = (radii * (view.scale * zoom)[:, None, None]).astype(np.float32)
    # Normals and light in the picture's axes: columns to the right, rows downwards.
    light = np.stack([view.light_x, view.light_y, np.ones(len(ends))], axis=-1)
    light = (light / np.linalg.norm(light, axis=-1, keepdims=True)).astype(np.float32)[:, :, None, None]
    ambient, brightness = (a.astype(np.float32)[:, None, None] for a in (view.ambient, view.brightness))
    images = np.empty((len(ends), side, side), np.float32)
    for start in range(0, len(ends), CHUNK):
        part = slice(start, start + CHUNK)
        depth = _depth(ends[part], radii[part], SUPERSAMPLE * side)
        grey = _shade(depth, light[part], ambient[part], zoom) * brightness[part]
        images[part] = grey.reshape(len(grey), side, SUPERSAMPLE, side, SUPERSAMPLE).mean(axis=(2, 4))
    return images


def _depth(ends: np.ndarray, radii: np.ndarray, side: int) -> np.ndarray:
    """Depth of the nearest surface, float32 ``[n, side, side]``, FAR where there is none. All in samples.

    A tapered capsule is the union of the spheres along its axis. Seen along z, the sphere at t shows the depth
    z(t) + sqrt(r(t)^2 - distance(t)^2); the greatest over t is the surface. For constant r that t has a closed form; r
    is taken at the foot of the perpendicular, which for such slight tapers cannot be told from the truth.
    """
    n = len(ends)
    depth = np.full(n * side * side, FAR, np.float32)
    first = (np.arange(n) * side * side)[:, None]
    for s in range(ends.shape[1]):
        a, b = ends[:, s, 0], ends[:, s, 1]
        ra, rb = radii[:, s, :1], radii[:, s, 1:]
        # Only a square window about the capsule is computed, the same size for all hands.
        reach = np.maximum(ra, rb)
        low = np.floor(np.minimum(a, b)[:, :2] - reach).astype(np.int64)
        high = np.ceil(np.maximum(a, b)[:, :2] + reach).astype(np.int64)
        window = min(int((high - low).max()), side)
        low = np.clip(low, 0, side - window)
        row, column = np.divmod(np.arange(window * window), window)
        x = (low[:, :1] + column).astype(np.float32) + np.float32(0.5) - a[:, :1]
        y = (low[:, 1:] + row).astype(np.float32) + np.float32(0.5) - a[:, 1:2]
        axis = b - a
        length = np.maximum(np.hypot(axis[:, :1], axis[:, 1:2]), np.float32(1e-3))
        ux, uy, slope = axis[:, :1] / length, axis[:, 1:2] / length, axis[:, 2:] / length
        along = x * ux + y * uy
        across2 = (x * uy - y * ux) ** 2
        radius = ra + (rb - ra) * np.clip(along / length, 0, 1)
        lean = slope / np.sqrt(1 + slope * slope)
        t = np.clip((along + lean * np.sqrt(np.maximum(radius * radius - across2, 0))) / length, 0, 1)
        radius = ra + (rb - ra) * t
        height2 = radius * radius - across2 - (along - t * length) ** 2
        surface = np.where(height2 > 0, a[:, 2:] + t * axis[:, 2:] + np.sqrt(np.maximum(height2, 0)), FAR)
        where = first + (low[:, 1:] * side + low[:, :1]) + (row * side + column)
        depth[where] = np.maximum(depth[where], surface)
    return depth.reshape(n, side, side)


def _shade(depth: np.ndarray, light: np.ndarray, ambient: np.ndarray, zoom: float) -> np.ndarray:
    """Brightness, ``[n, side, side]``: by the slope to the light, darker behind edges, 0 where there is no hand."""
    hit = depth > FAR
    across, down = _slope(depth, axis=2), _slope(depth, axis=1)
    facing = (light[:, 2] - across * light[:, 0] - down * light[:, 1]) / np.sqrt(1 + across * across + down * down)
    grey = ambient + (1 - ambient) * np.maximum(facing, 0)

    # Unsharp masking of the depth (Luft, Colditz and Deussen, 2006): what lies deeper than its surroundings is dark.
    solid = hit.astype(np.float32)
    height = np.where(hit, depth, np.float32(0))
    for px, full, strength in zip(SHADOW_REACH, SHADOW_FULL, SHADOW_STRENGTH, strict=True):
        reach = max(1, round(px * zoom))
        around = _blur(height, reach) / np.maximum(_blur(solid, reach), np.float32(1e-6))
        grey *= 1 - strength * np.clip((around - depth) / (full * zoom), 0, 1)
    grey *= np.clip(1 + NEARNESS * depth / zoom, 0.6, 1.4)
    return np.where(hit, grey, np.float32(0))


def _slope(depth: np.ndarray, axis: int) -> np.ndarray:
    """Slope along an axis: the gentler of the differences to both neighbours, so that it never spans an edge."""
    step = np.diff(depth, axis=axis)
    before = np.insert(step, 0, 0, axis=axis)
    after = np.insert(step, step.shape[axis], 0, axis=axis)
    return np.where(np.abs(before) < np.abs(after), before, after)


def _blur(values: np.ndarray, reach: int) -> np.ndarray:
    """Sum over the square window of 2 reach + 1 samples a side about each sample."""
    for axis in (1, 2):
        length = values.shape[axis]
        padding = [(0, 0)] * 3
        padding[axis] = (reach, reach)
        padded = np.moveaxis(np.pad(values, padding), axis, 0)
        total = padded[:length].copy()
        for shift in range(1, 2 * reach + 1):
            total += padded[shift : shift + length]
        values = np.moveaxis(total, 0, axis)
    return values
