// Transforms samples into the input of the graphs, and back. Axis letters: t frame, f frequency bin.
import { Fourier } from "./fourier.js";

const LEAST_OVERLAP = 1e-11; // smallest sum of squared windows that may be divided by

export class Transform {
  // Takes the content of model.json.
  constructor({ window, hop, center, gain, normalises }) {
    Object.assign(this, { window, hop, gain, normalises });
    this.size = window.length;
    this.bins = Math.floor(this.size / 2) + 1;
    this.margin = center ? Math.floor(this.size / 2) : 0;
    this.fourier = new Fourier(this.size);
  }

  // Returns the spectrum (t, f, 2) of samples, its frames t, and the factor of the estimates.
  encode(samples) {
    const length = Math.max(this.size, Math.ceil(samples.length / this.hop) * this.hop);
    const padded = new Float32Array(length);
    padded.set(samples);
    const scale = (this.normalises && deviation(padded)) || 1; // silence stays silence
    const frames = Math.floor((length + 2 * this.margin - this.size) / this.hop) + 1;
    const spectrum = new Float32Array(frames * this.bins * 2);
    const frame = new Float64Array(2 * this.size);
    for (let t = 0; t < frames; t++) {
      for (let n = 0; n < this.size; n++) {
        const place = Math.abs(t * this.hop + n - this.margin); // mirrored at both ends
        const sample = padded[place < length ? place : 2 * (length - 1) - place];
        frame[2 * n] = (sample / scale) * this.window[n] * this.gain;
      }
      const found = this.fourier.transform(frame);
      spectrum.set(found.subarray(0, 2 * this.bins), 2 * this.bins * t);
    }
    return { spectrum, frames, scale };
  }

  // Returns a given number of samples of a spectrum (t, f, 2).
  decode(spectrum, count, scale) {
    const frames = spectrum.length / this.bins / 2;
    const sum = new Float64Array((frames - 1) * this.hop + this.size);
    const power = new Float64Array(sum.length);
    for (let t = 0; t < frames; t++) {
      const frame = this.#inverse(spectrum.subarray(2 * this.bins * t, 2 * this.bins * (t + 1)));
      for (let n = 0; n < this.size; n++) {
        sum[t * this.hop + n] += frame[2 * n] * this.window[n];
        power[t * this.hop + n] += this.window[n] ** 2;
      }
    }
    const factor = scale / this.gain / this.size;
    const samples = new Float32Array(count); // with zeros after the last frame
    const within = sum.subarray(this.margin, this.margin + count);
    within.forEach((value, n) => {
      const overlap = power[n + this.margin];
      samples[n] = (value * factor) / (overlap > LEAST_OVERLAP ? overlap : 1);
    });
    return samples;
  }

  // Returns the inverse transform of a frame (f, 2), times its size: the transform of the conjugate.
  #inverse(frame) {
    const full = new Float64Array(2 * this.size);
    for (let f = this.bins - 1; f >= 0; f--) {
      const mirrored = (this.size - f) % this.size;
      full.set([frame[2 * f], frame[2 * f + 1]], 2 * mirrored);
      full.set([frame[2 * f], -frame[2 * f + 1]], 2 * f);
    }
    return this.fourier.transform(full);
  }
}

function deviation(samples) {
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
  const squares = samples.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return Math.sqrt(squares / (samples.length - 1));
}
