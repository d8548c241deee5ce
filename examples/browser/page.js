// The page: takes a recording, runs the model in a worker, plays the estimates.
import { cut, joined } from "./chunks.js";
import { decoded, peak, wav } from "./sound.js";

const FOLDER = new URLSearchParams(location.search).get("model") ?? "model";
const MOST_SECONDS = 300; // the state of all chunks is in memory
const PEAK = 0.9; // of the speakers together

const element = (id) => document.getElementById(id);
const [message, progress, depth, players] = ["message", "progress", "depth", "players"].map(element);
const worker = new Worker("worker.js", { type: "module" });
let description; // the content of model.json
let separation = null; // {name, seconds, chunks, depths: estimates, isRunning} of a recording
let recorder = null;

// Calls a method of the worker.
function call(method, argument) {
  const { port1, port2 } = new MessageChannel();
  worker.postMessage([method, argument, port2], [port2]);
  return new Promise((resolve, reject) => {
    port1.onmessage = ({ data: { result, error } }) =>
      error === undefined ? resolve(result) : reject(new Error(error));
  });
}

function say(text, isError = false) {
  message.textContent = text;
  message.classList.toggle("error", isError);
}

// Runs an event's action; an error becomes the message, prefixed with the name of its subject.
const attempt = (name, run) => run().catch((error) => say(`${name}: ${error.message}`, true));

async function start() {
  description = await call("load", FOLDER);
  depth.max = Math.max(description.deepest_useful, description.trained_n_re);
  depth.value = element("shown-depth").value = description.usual_n_re;
  for (const id of ["file", "record", "depth"]) element(id).disabled = false;
  say("Drop a recording on this page, choose a file, or record.");
}

// Separates a recording, which replaces the previous one.
async function take(file, name) {
  separation = null;
  progress.value = 0;
  players.replaceChildren();
  say(`${name}: reading`);
  const samples = await decoded(file, description.sample_rate);
  const seconds = samples.length / description.sample_rate;
  if (seconds > MOST_SECONDS)
    throw new Error(`${seconds.toFixed()} s long; this page takes ${MOST_SECONDS} s at most`);
  const chunks = cut(samples, description.sample_rate);
  separation = { name, seconds, chunks, depths: [], isRunning: false };
  const empty = () => element("player").content.cloneNode(true);
  players.replaceChildren(...Array.from({ length: 1 + description.num_spk }, empty));
  fill(players.children[0], samples, "mixture.wav");
  await call("begin", chunks);
  await deepen();
}

// Runs repetitions up to the depth of the slider, and shows the estimates after each.
async function deepen() {
  const current = separation;
  if (current === null || current.isRunning) return;
  const { name, seconds, chunks, depths } = current;
  const began = performance.now();
  current.isRunning = true;
  while (depths.length < depth.value) {
    const found = [];
    say(`${name}: repetition ${depths.length + 1}`);
    for (const index of chunks.keys()) {
      progress.max = depth.value * chunks.length;
      progress.value = depths.length * chunks.length + index;
      found.push(await call("repeat", index));
      if (current !== separation) return; // replaced by another one
    }
    depths.push(joined(chunks, found));
    show();
  }
  current.isRunning = false;
  progress.value = progress.max;
  const took = ((performance.now() - began) / 1000).toFixed(1);
  say(`${name}: ${seconds.toFixed(1)} s of sound, ${took} s of computation, N_re ${show()}`);
}

// Shows the estimates at the slider's depth, or at the deepest available one; returns that depth.
function show() {
  const { depths } = separation;
  const name = separation.name.replace(/\.\w+$/, "");
  const shown = Math.min(depth.value, depths.length);
  const gain = PEAK / (Math.max(...depths[shown - 1].map(peak)) || 1);
  depths[shown - 1].forEach((estimate, j) => {
    const samples = estimate.map((x) => x * gain);
    fill(players.children[1 + j], samples, `${name}_re${shown}_spk${1 + j}.wav`);
  });
  return shown;
}

// Gives a player a file of samples. Playback continues from the same position.
function fill(figure, samples, fileName) {
  const [link, sound] = ["a", "audio"].map((tag) => figure.querySelector(tag));
  const { currentTime, paused } = sound;
  URL.revokeObjectURL(sound.src);
  sound.src = link.href = URL.createObjectURL(wav(samples, description.sample_rate));
  link.download = link.textContent = fileName;
  sound.currentTime = currentTime;
  if (!paused) sound.play();
}

async function record() {
  if (recorder !== null) return recorder.stop();
  if (!navigator.mediaDevices) throw new Error("only pages loaded by https or from localhost may use it");
  const unprocessed = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: unprocessed });
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = ({ data }) => attempt("recording", () => take(data, "recording"));
  recorder.onstop = () => {
    stream.getTracks().forEach((track) => track.stop());
    [recorder, element("record").textContent] = [null, "Record"];
  };
  recorder.start();
  element("record").textContent = "Stop";
}

const takeFile = (file) => file && attempt(file.name, () => take(file, file.name));
element("file").onchange = ({ target }) => takeFile(target.files[0]);
element("record").onclick = () => attempt("microphone", record);
depth.oninput = () => (element("shown-depth").value = depth.value);
depth.onchange = () => {
  if (separation?.depths.length) show();
  attempt("separation", deepen);
};
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  if (description) takeFile(event.dataTransfer.files[0]);
};
attempt("model", start);
