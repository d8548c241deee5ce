// Long recordings: overlapping chunks, and joining their estimates.
const [SECONDS, OVERLAP] = [8, 2];

// Returns the chunks of samples, {start, samples}. The last one ends with the recording.
export function cut(samples, rate) {
  const [length, hop] = [SECONDS * rate, (SECONDS - OVERLAP) * rate];
  const last = Math.max(0, samples.length - length);
  return Array.from({ length: 1 + Math.ceil(last / hop) }, (_, index) => {
    const start = Math.min(index * hop, last);
    return { start, samples: samples.slice(start, start + length) };
  });
}

// Returns the samples of each speaker from the estimates of each chunk. Speakers are matched by
// their similarity in the overlap, where one chunk fades to the next.
export function joined(chunks, estimates) {
  const ends = chunks.map(({ start, samples }) => start + samples.length);
  const speakers = estimates[0].map(() => new Float32Array(ends.at(-1)));
  speakers.forEach((speaker, j) => speaker.set(estimates[0][j]));
  for (let index = 1; index < chunks.length; index++) {
    const [start, end] = [chunks[index].start, ends[index - 1]];
    const before = speakers.map((speaker) => speaker.subarray(start, end));
    const ordered = mostAlike(before, permutations(estimates[index]));
    ordered.forEach((estimate, j) => {
      before[j].forEach((x, n) => {
        const weight = 0.5 - 0.5 * Math.cos((Math.PI * (n + 0.5)) / (end - start));
        before[j][n] = x + (estimate[n] - x) * weight;
      });
      speakers[j].set(estimate.subarray(end - start), end);
    });
  }
  return speakers;
}

function mostAlike(signals, orders) {
  const score = (order) => order.reduce((sum, x, j) => sum + likeness(signals[j], x), 0);
  const scores = orders.map(score);
  return orders[scores.indexOf(Math.max(...scores))];
}

// 1 for equal signals, about 0 for different ones, and for a signal and its leakage.
function likeness(a, b) {
  const sum = (term) => a.reduce((total, x, n) => total + term(x, b[n]), 0);
  return sum((x, y) => 2 * x * y) / (sum((x, y) => x * x + y * y) || 1);
}

function permutations(items) {
  if (items.length === 1) return [items];
  return items.flatMap((first, place) =>
    permutations(items.toSpliced(place, 1)).map((rest) => [first, ...rest]),
  );
}
