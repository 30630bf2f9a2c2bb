// Images: any picture to 28 x 28 grey bytes, as `gpunet predict` makes them with Pillow. Of the same pixels the same
// 784 bytes come out, since Pillow's integer arithmetic is followed to the bit. They may be a grey level or so off
// where decoders differ (JPEG, transparency, 16-bit files), and in pictures more than twice as tall as wide, of which
// some versions of Pillow shrink the height first.

const SIDE = 28;
const STRIP = 256; // rows of a picture that are read at a time: browsers limit the size of a canvas

/** (A part of) an image, a video frame or a canvas as grey { bytes, width, height }; transparent parts are black. */
function greyOf(source, { left = 0, top = 0, width, height }) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = Math.min(height, STRIP);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const bytes = new Uint8Array(width * height);
  for (let row = 0; row < height; row += canvas.height) {
    const rows = Math.min(canvas.height, height - row);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, canvas.height);
    context.drawImage(source, -left, -top - row);
    const colours = context.getImageData(0, 0, width, rows).data;
    for (let pixel = 0; pixel < width * rows; pixel++) {
      bytes[row * width + pixel] = luma(colours[4 * pixel], colours[4 * pixel + 1], colours[4 * pixel + 2]);
    }
  }
  return { bytes, width, height };
}

/** 0.299 R + 0.587 G + 0.114 B in Pillow's fixed-point numbers. */
function luma(red, green, blue) {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

/** A grey picture of any size as 784 bytes: scaled to fit into 28 x 28, its proportions kept, centred on black. */
function fit({ bytes, width, height }) {
  const scale = SIDE / Math.max(width, height);
  const [newWidth, newHeight] = [width, height].map((side) => Math.max(1, roundHalfToEven(side * scale)));
  const small = resize(bytes, width, height, newWidth, newHeight);
  const left = (SIDE - newWidth) >> 1;
  const top = (SIDE - newHeight) >> 1;
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let row = 0; row < newHeight; row++) {
    pixels.set(small.subarray(row * newWidth, (row + 1) * newWidth), (top + row) * SIDE + left);
  }
  return pixels;
}

/** Pillow's bilinear resize: columns, then rows, each rounded to bytes. */
function resize(bytes, width, height, newWidth, newHeight) {
  const narrow = resizeRows(bytes, width, height, newWidth);
  return transposed(resizeRows(transposed(narrow, newWidth, height), height, newWidth, newHeight), newHeight, newWidth);
}

/** Each of `rows` rows of `length` bytes brought to `newLength` bytes. */
function resizeRows(bytes, length, rows, newLength) {
  const result = new Uint8Array(rows * newLength);
  for (const [place, { first, weights }] of resizeWeights(length, newLength).entries()) {
    for (let row = 0; row < rows; row++) {
      let sum = 2 ** 21; // one half, so that the division rounds
      for (let k = 0; k < weights.length; k++) sum += weights[k] * bytes[row * length + first + k];
      result[row * newLength + place] = Math.min(255, Math.floor(sum / 2 ** 22));
    }
  }
  return result;
}

/** For each new pixel the first old one that it averages, and their weights, a triangle, in units of 2^-22. */
function resizeWeights(length, newLength) {
  const scale = length / newLength;
  const reach = Math.max(scale, 1); // half of the triangle's base; never narrower than two pixels
  return Array.from({ length: newLength }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(length, Math.trunc(centre + reach + 0.5));
    const heights = Array.from({ length: end - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((first + k - centre + 0.5) * (1 / reach))),
    );
    const sum = heights.reduce((total, value) => total + value, 0);
    return { first, weights: heights.map((value) => Math.trunc(0.5 + (value / sum) * 2 ** 22)) };
  });
}

function transposed(bytes, width, height) {
  const result = new Uint8Array(bytes.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) result[column * height + row] = bytes[row * width + column];
  }
  return result;
}

/** As Python's round(): 2.5 becomes 2, 3.5 becomes 4. */
function roundHalfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function inverted({ bytes, width, height }) {
  return { bytes: bytes.map((byte) => 255 - byte), width, height };
}

/** Whether the edge of a picture is light on the whole, as that of ink on paper. */
function hasLightEdge({ bytes, width, height }) {
  let sum = 0;
  for (let x = 0; x < width; x++) sum += bytes[x] + bytes[(height - 1) * width + x];
  for (let y = 0; y < height; y++) sum += bytes[y * width] + bytes[y * width + width - 1];
  return sum / (2 * width + 2 * height) > 127;
}
