// Recordings to samples, and samples to files.

// Returns the mean of the channels of an audio file, at a sample rate in Hz.
export async function decoded(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const sound = await context.decodeAudioData(await file.arrayBuffer()).catch(() => {
    throw new Error("this browser cannot decode any sound in it");
  });
  const mean = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++)
    sound.getChannelData(c).forEach((x, n) => (mean[n] += x / sound.numberOfChannels));
  if (!mean.every(Number.isFinite)) throw new Error("holds samples that are not finite numbers");
  return mean;
}

export function peak(samples) {
  return samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
}

// Returns a WAV file of 32-bit floats.
export function wav(samples, rate) {
  const [riff, wave, fmt, data] = [0x46464952, 0x45564157, 0x20746d66, 0x61746164];
  const bytes = samples.byteLength;
  const floats = [16, 0x10003, rate, 4 * rate, 0x200004]; // one channel, 4 bytes a sample
  const header = new Uint32Array([riff, 36 + bytes, wave, fmt, ...floats, data, bytes]);
  return new Blob([header, samples], { type: "audio/wav" });
}
