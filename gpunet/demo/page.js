// The page: where images come from, and what is shown of the network's answer. All text from outside goes in as text.

const saved = JSON.parse(byId("model").textContent);
const network = readNetwork(saved);
const examples = saved.examples.map(({ pixels, label }) => ({ pixels: readBytes(pixels), label }));

const MOST_BARS = 12;
const MOST_UNITS = 24; // until all are asked for
const CAMERA_PAUSE = 150; // milliseconds from one look to the next
const POSITIVE = [47, 134, 201]; // as --for and --against in the style
const NEGATIVE = [221, 107, 32];

const drawing = byId("drawing").getContext("2d", { alpha: false, willReadFrequently: true });
const view = { pixels: null, allUnits: false, products: false }; // pixels: the 784 bytes on show, or null
let opened = null; // the grey picture that was opened last, for as long as it is on show
let camera = null; // its stream and timer

function byId(id) {
  return document.getElementById(id);
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// What is shown

/** Show what the network makes of these 784 bytes; null: of nothing yet. */
function show(pixels) {
  view.pixels = pixels;
  const answer = pixels && predict(network, pixels);
  paintGrey(byId("seen"), pixels || new Uint8Array(SIDE * SIDE));
  showVerdict(answer);
  showBars(answer);
  showUnits(answer);
}

function showVerdict(answer) {
  const name = answer ? network.classNames[answer.best] : "?";
  byId("best").textContent = name;
  byId("best").classList.toggle("long", name.length > 10);
  if (!answer) byId("share").textContent = "Draw something, or open an image.";
  else if (network.loss === "squared_error") byId("share").textContent = "the largest output";
  else byId("share").textContent = `with a probability of ${percent(answer.scores[answer.best])}`;
}

function showBars(answer) {
  const count = network.classNames.length;
  const scores = answer ? answer.scores : new Array(count).fill(0);
  let places = [...scores.keys()];
  if (count > MOST_BARS) places = places.sort((a, b) => scores[b] - scores[a]).slice(0, MOST_BARS);
  byId("bars").replaceChildren(...places.map((place) => bar(place, scores[place], answer)));
  const notes = [];
  if (network.loss === "squared_error") notes.push("Outputs, not probabilities: trained on the squared error.");
  if (count > MOST_BARS) notes.push(`The first ${MOST_BARS} of ${count} classes.`);
  byId("bars-note").textContent = notes.join(" ");
  byId("bars-note").hidden = notes.length === 0;
}

function bar(place, score, answer) {
  const row = element("li", answer && place === answer.best ? "best" : "");
  const track = element("span", "track");
  const fill = track.appendChild(element("div", "fill"));
  fill.style.width = `${100 * Math.min(Math.max(score, 0), 1)}%`;
  const name = element("span", "name", network.classNames[place]);
  name.title = network.classNames[place];
  const text = network.loss === "squared_error" ? signed(score) : percent(score);
  row.append(name, track, element("span", "value", answer ? text : ""));
  return row;
}

/** The first layer's weights as images, the units that speak most for the answer first. */
function showUnits(answer) {
  const count = network.sizes[1];
  const effects = answer && contributions(network, answer.values, answer.best);
  let order = [...Array(count).keys()];
  if (effects) order.sort((a, b) => effects[b] - effects[a]);
  if (!view.allUnits) order = order.slice(0, MOST_UNITS);
  byId("units").replaceChildren(...order.map((unit) => unitFigure(unit, answer, effects)));
  byId("more").hidden = count <= MOST_UNITS;
  byId("more").textContent = view.allUnits ? "Show fewer" : `Show all ${count}`;
  byId("more").setAttribute("aria-expanded", view.allUnits);
}

function unitFigure(unit, answer, effects) {
  const figure = document.createElement("figure");
  const canvas = figure.appendChild(element("canvas", "pixels"));
  paintWeights(canvas, unit, view.products && view.pixels);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Weights of ${unitName(unit)}`);
  const caption = figure.appendChild(document.createElement("figcaption"));
  caption.append(element("span", "name", unitName(unit)));
  if (answer) {
    if (network.layers.length > 1) caption.append(element("span", "name", `active ${plain(answer.values[1][unit])}`));
    const sign = effects[unit] > 0 ? "for" : effects[unit] < 0 ? "against" : "none";
    caption.append(element("span", `effect ${sign}`, signed(effects[unit])));
  }
  return figure;
}

function unitName(unit) {
  if (network.layers.length > 1) return `unit ${unit + 1}`;
  return network.sizes[1] > 1 ? network.classNames[unit] : "the output";
}

function explainUnits() {
  const deep = network.layers.length > 2;
  if (network.layers.length === 1) {
    const [first, second] = network.classNames;
    byId("units-title").textContent = "What the outputs respond to";
    byId("units-note").textContent =
      "There is no hidden layer: each output adds up the pixels by these weights, and in bold is what comes out. " +
      (network.sizes[1] > 1 ? "Sorted by this." : `The larger, the more it speaks for ${second} and against ${first}.`);
    return;
  }
  byId("units-note").textContent =
    `The weights of each unit of the ${deep ? "first " : ""}hidden layer, one for each pixel, its activation for ` +
    `this image, and in bold what that adds to the output of the class above` +
    (deep ? " (activation times derivative). " : " (activation times weight). ") +
    "Sorted by this.";
}

function showExamples() {
  byId("examples-section").hidden = examples.length === 0;
  byId("examples").replaceChildren(...examples.map(exampleButton));
}

function exampleButton({ pixels, label }) {
  const name = network.classNames[label];
  const read = network.classNames[predict(network, pixels).best];
  const button = element("button", read === name ? "" : "misread");
  button.type = "button";
  button.title = read === name ? name : `${name}, misread as ${read}`;
  button.setAttribute("aria-label", `Test image of ${button.title}`);
  button.setAttribute("aria-pressed", "false");
  paintGrey(button.appendChild(element("canvas", "pixels")), pixels);
  button.append(element("span", "", read === name ? name : `${name} \u2192 ${read}`));
  button.addEventListener("click", () => {
    startOver();
    button.setAttribute("aria-pressed", "true");
    drawing.imageSmoothingEnabled = false;
    drawing.drawImage(button.firstChild, 0, 0, 280, 280);
    show(pixels);
  });
  return button;
}

function paintGrey(canvas, pixels) {
  paint(canvas, (pixel) => [pixels[pixel], pixels[pixel], pixels[pixel], 255]);
}

/** A unit's weights, or their products with the image: the largest in full colour, zero transparent. */
function paintWeights(canvas, unit, pixels) {
  const { weight } = network.layers[0];
  const values = Array.from({ length: SIDE * SIDE }, (_, pixel) => {
    return weight[pixel * network.sizes[1] + unit] * (pixels ? pixels[pixel] / 255 : 1);
  });
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), Number.MIN_VALUE);
  paint(canvas, (pixel) => {
    const colour = values[pixel] > 0 ? POSITIVE : NEGATIVE;
    return [...colour, (255 * Math.abs(values[pixel])) / largest];
  });
}

/** Paint a canvas of 28 x 28 pixels. colour: from a pixel's place to red, green, blue and opacity (0 to 255). */
function paint(canvas, colour) {
  canvas.width = canvas.height = SIDE;
  const image = new ImageData(SIDE, SIDE);
  for (let pixel = 0; pixel < SIDE * SIDE; pixel++) image.data.set(colour(pixel), 4 * pixel);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function plain(value) {
  return value.toFixed(2).replace("-", "\u2212");
}

function signed(value) {
  return (value > 0 ? "+" : "") + plain(value);
}

function say(text) {
  byId("status").textContent = text;
  byId("status").hidden = text === "";
}

// Where images come from

/** Away with the image on show and all that belonged to it. */
function startOver() {
  stopCamera();
  opened = null;
  say("");
  drawing.fillStyle = "#000";
  drawing.fillRect(0, 0, 280, 280);
  for (const button of byId("examples").children) button.setAttribute("aria-pressed", "false");
}

function clear() {
  startOver();
  show(null);
}

async function openImage(file) {
  let bitmap;
  try {
    // As `gpunet predict`: the camera's orientation is honoured, colour profiles are not.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    say(`${file.name || "What was pasted"} cannot be read as an image by this browser.`);
    return;
  }
  startOver();
  opened = greyOf(bitmap, bitmap);
  showOpened();
}

function showOpened() {
  const grey = byId("invert").checked ? inverted(opened) : opened;
  const pixels = fit(grey);
  show(pixels);
  drawing.imageSmoothingEnabled = false;
  drawing.drawImage(byId("seen"), 0, 0, 280, 280);
  const hint = "This image is light at its edge, but the network knows light shapes on black: invert it?";
  say(hasLightEdge(grey) ? hint : "");
}

function drawLine(from, to) {
  drawing.strokeStyle = "#fff";
  drawing.lineCap = drawing.lineJoin = "round";
  drawing.lineWidth = Number(byId("brush").value);
  drawing.beginPath();
  drawing.moveTo(...from);
  drawing.lineTo(...to);
  drawing.stroke();
  opened = null;
  say("");
  for (const button of byId("examples").children) button.setAttribute("aria-pressed", "false");
  show(fit(greyOf(byId("drawing"), { width: 280, height: 280 })));
}

function listenToPointer() {
  const canvas = byId("drawing");
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * 280) / box.width, ((event.clientY - box.top) * 280) / box.height];
  };
  const stroke = (event) => {
    const next = place(event);
    drawLine(last, next);
    last = next;
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => last && stroke(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
}

/** Arrows move the brush by a pixel of the network's, with Shift they draw. */
function listenToArrows() {
  const steps = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] };
  let at = [145, 145]; // the middle of a pixel of the network's
  byId("drawing").addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const next = at.map((value, axis) => Math.min(275, Math.max(5, value + step[axis])));
    if (event.shiftKey) drawLine(at, next);
    at = next;
    const [column, row] = at.map((value) => Math.ceil(value / 10));
    byId("drawing").setAttribute("aria-label", `Drawing area, brush at column ${column}, row ${row}`);
  });
}

function listenToFiles() {
  byId("open").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    if (event.target.files.length) openImage(event.target.files[0]);
    event.target.value = ""; // so that the same file can be opened again
  });
  const mark = (on) => byId("stage").classList.toggle("target", on);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    openFirst(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => openFirst(event.clipboardData));
  byId("invert").addEventListener("change", () => opened && showOpened());
}

function openFirst(transfer) {
  if (transfer.files.length) openImage(transfer.files[0]);
  else say("There is no image file in that.");
}

// The camera: the square in the middle of its picture, looked at several times a second

async function startCamera() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    say("The camera cannot be used: there is none, or the browser was told not to allow it.");
    return;
  }
  clear();
  const video = byId("video");
  video.srcObject = stream;
  video.hidden = false;
  camera = { stream, timer: setInterval(look, CAMERA_PAUSE) };
  byId("camera").textContent = "Stop camera";
  await video.play();
}

function stopCamera() {
  if (!camera) return;
  clearInterval(camera.timer);
  for (const track of camera.stream.getTracks()) track.stop();
  camera = null;
  byId("video").hidden = true;
  byId("camera").textContent = "Camera";
}

function look() {
  const { videoWidth, videoHeight } = byId("video");
  const side = Math.min(videoWidth, videoHeight);
  if (!side) return; // nothing has arrived yet
  const [left, top] = [(videoWidth - side) >> 1, (videoHeight - side) >> 1];
  opened = greyOf(byId("video"), { left, top, width: side, height: side });
  showOpened();
}

// Begin

byId("clear").addEventListener("click", clear);
byId("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
byId("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
byId("more").addEventListener("click", () => {
  view.allUnits = !view.allUnits;
  show(view.pixels);
});
for (const choice of document.querySelectorAll("input[name=view]")) {
  choice.addEventListener("change", () => {
    view.products = choice.value === "products";
    show(view.pixels);
  });
}
listenToPointer();
listenToArrows();
listenToFiles();
explainUnits();
showExamples();
clear();
if (examples.length) byId("examples").firstChild.click();
