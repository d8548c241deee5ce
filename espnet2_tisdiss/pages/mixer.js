// Plays the tracks of .mixer in sync with the Web Audio API, with mute and solo. The page replaces
// the content of `element` for each separation, so events are handled here and not on the buttons.
let context = null;
let playing = null; // {mixer, sources, gains, began, from}

const tracksOf = (mixer) => [...mixer.querySelectorAll(".track")];
const pressed = (track, act) =>
  track.querySelector(`[data-act=${act}]`).getAttribute("aria-pressed") === "true";

function gainsOf(mixer) {
  const tracks = tracksOf(mixer);
  const solo = tracks.some((track) => pressed(track, "solo"));
  return tracks.map((track) => Number(solo ? pressed(track, "solo") : !pressed(track, "mute")));
}

async function decoded(track) {
  if (!track.samples) {
    const file = await (await fetch(track.dataset.src)).arrayBuffer();
    track.samples = await context.decodeAudioData(file);
  }
  return track.samples;
}

function show(mixer, seconds) {
  mixer.querySelector(".clock").textContent = `${seconds.toFixed(1)} s`;
  mixer.querySelector("[data-act=seek]").value = seconds;
}

function stop() {
  if (!playing) return;
  playing.sources.forEach((source) => source.stop());
  playing.mixer.querySelector("[data-act=play]").textContent = "play";
  playing = null;
}

async function play(mixer, from) {
  context = context || new AudioContext();
  await context.resume();
  const buffers = await Promise.all(tracksOf(mixer).map(decoded));
  stop();
  const began = context.currentTime + 0.05;
  const gains = gainsOf(mixer).map((value) => new GainNode(context, { gain: value }));
  const sources = buffers.map((buffer, index) => {
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(gains[index]).connect(context.destination);
    source.start(began, from);
    return source;
  });
  playing = { mixer, sources, gains, began, from };
  mixer.querySelector("[data-act=play]").textContent = "pause";
  requestAnimationFrame(follow);
}

function follow() {
  if (!playing) return;
  const mixer = playing.mixer;
  const seconds = playing.from + Math.max(0, context.currentTime - playing.began);
  if (!mixer.isConnected || seconds >= Number(mixer.dataset.seconds)) {
    stop();
    show(mixer, 0);
    return;
  }
  show(mixer, seconds);
  requestAnimationFrame(follow);
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button) return;
  const mixer = button.closest(".mixer");
  if (button.dataset.act === "play") {
    if (playing) stop();
    else play(mixer, Number(mixer.querySelector("[data-act=seek]").value));
    return;
  }
  button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
  if (playing) {
    gainsOf(mixer).forEach((value, index) => {
      playing.gains[index].gain.value = value;
    });
  }
});

element.addEventListener("input", (event) => {
  if (event.target.dataset.act !== "seek") return;
  const mixer = event.target.closest(".mixer");
  const seconds = Number(event.target.value);
  if (playing) play(mixer, seconds);
  else show(mixer, seconds);
});
