// The network: what `gpunet predict` computes, in a few functions without the page.
//
// A network is { sizes, activation, loss, classNames, layers: [{ weight, bias }, ...] }. The weight of a layer with I
// inputs and O outputs is a Float32Array of I * O numbers, in which that of input i and output j stands at i * O + j.
// Numbers are added up in float64, which the weights' float32 is exact in.

// Name -> the activation f(z) of the hidden layers, and its derivative in terms of a = f(z).
const ACTIVATIONS = {
  identity: { f: (z) => z, derivative: () => 1 },
  relu: { f: (z) => Math.max(z, 0), derivative: (a) => (a > 0 ? 1 : 0) },
  sigmoid: { f: (z) => 1 / (1 + Math.exp(-z)), derivative: (a) => a * (1 - a) },
  tanh: { f: Math.tanh, derivative: (a) => (1 - a) * (1 + a) },
};

/** One dense layer: z = x W + b. */
function dense(x, { weight, bias }) {
  const z = Float64Array.from(bias);
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < z.length; j++) z[j] += x[i] * weight[i * z.length + j];
  }
  return z;
}

/** What each layer makes of 784 grey bytes: [the input (0 to 1), the activations of each hidden layer, the logits]. */
function forward(network, pixels) {
  const { f } = ACTIVATIONS[network.activation];
  const values = [Float64Array.from(pixels, (byte) => byte / 255)];
  for (const [index, layer] of network.layers.entries()) {
    const z = dense(values[index], layer);
    const isLast = index === network.layers.length - 1;
    values.push(isLast ? z : z.map(f));
  }
  return values;
}

/** The probabilities of classes by their logits; the largest is subtracted, so that nothing overflows. */
function softmax(logits) {
  const largest = Math.max(...logits);
  const e = logits.map((z) => Math.exp(z - largest));
  const sum = e.reduce((total, value) => total + value, 0);
  return e.map((value) => value / sum);
}

/** One score a class: its probability, or its output where the network was trained on the squared error. */
function classScores(network, logits) {
  const z = Array.from(logits);
  if (network.loss === "squared_error") return z.length > 1 ? z : [1 - z[0], z[0]];
  return softmax(z.length > 1 ? z : [0, z[0]]); // the sigmoid of one logit is the softmax of 0 and it
}

/** The likeliest class (the first of equal ones), the scores of all, and what each layer made of the image. */
function predict(network, pixels) {
  const values = forward(network, pixels);
  const scores = classScores(network, values[values.length - 1]);
  return { best: scores.indexOf(Math.max(...scores)), scores, values };
}

/**
 * What each unit of the first layer adds to the output of the class `best`: a_j times the derivative of that output by
 * a_j, which backpropagation brings down from the output. With one hidden layer this is a_j W_jc, and all of them and
 * the bias add up to the output. A single output speaks for the second class and against the first. Without hidden
 * layer it is the outputs themselves.
 */
function contributions(network, values, best) {
  const { layers, activation } = network;
  const outputs = network.sizes[network.sizes.length - 1];
  if (layers.length === 1) return Array.from(values[1]);
  let gradient = new Float64Array(outputs);
  if (outputs === 1) gradient[0] = best === 1 ? 1 : -1;
  else gradient[best] = 1;
  for (let index = layers.length - 1; index > 0; index--) {
    gradient = timesTransposed(gradient, layers[index].weight, values[index].length);
    if (index > 1) gradient = gradient.map((g, j) => g * ACTIVATIONS[activation].derivative(values[index][j]));
  }
  return Array.from(gradient, (g, j) => g * values[1][j]);
}

/** gradient W^T: from a layer's outputs to its inputs. */
function timesTransposed(gradient, weight, inputs) {
  const below = new Float64Array(inputs);
  for (let i = 0; i < inputs; i++) {
    for (let j = 0; j < gradient.length; j++) below[i] += gradient[j] * weight[i * gradient.length + j];
  }
  return below;
}

/** The network that the page carries as JSON, in which arrays of float32 are base64 text. */
function readNetwork(saved) {
  const layers = saved.layers.map(({ weight, bias }) => ({ weight: readFloats(weight), bias: readFloats(bias) }));
  return { ...saved, layers };
}

function readBytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Little-endian float32, whatever the order of bytes of this machine. */
function readFloats(base64) {
  const view = new DataView(readBytes(base64).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, index) => view.getFloat32(4 * index, true));
}
