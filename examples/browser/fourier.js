// Discrete Fourier transforms of one size, which is halved as long as it is even; the remaining odd
// size is summed directly. Arrays hold complex numbers as alternating real and imaginary parts.
export class Fourier {
  constructor(size) {
    const angles = Float64Array.from({ length: size }, (_, k) => (-2 * Math.PI * k) / size);
    [this.size, this.cos, this.sin] = [size, angles.map(Math.cos), angles.map(Math.sin)];
  }

  transform(samples) {
    const out = new Float64Array(2 * this.size);
    this.#fill(out, 0, samples, 0, this.size);
    return out;
  }

  // Transforms `size` samples, the first of them at `from`, into `out` from `to` on. The distance
  // between the samples is the number of transforms of their size.
  #fill(out, to, samples, from, size) {
    const stride = this.size / size;
    if (size % 2) {
      for (let k = 0; k < size; k++)
        for (let n = 0; n < size; n++)
          this.#add(out, to + k, samples, from + n * stride, ((n * k) % size) * stride);
      return;
    }
    const half = size / 2;
    this.#fill(out, to, samples, from, half);
    this.#fill(out, to + half, samples, from + stride, half);
    const value = new Float64Array(2);
    for (let k = 0; k < half; k++) {
      const [even, odd] = [2 * (to + k), 2 * (to + k + half)];
      value.fill(0);
      this.#add(value, 0, out, to + k + half, k * stride);
      for (const part of [0, 1]) {
        out[odd + part] = out[even + part] - value[part];
        out[even + part] += value[part];
      }
    }
  }

  // Adds a complex number, rotated by a fraction of the circle, to another one.
  #add(out, to, numbers, from, turn) {
    const [real, imaginary] = [numbers[2 * from], numbers[2 * from + 1]];
    out[2 * to] += real * this.cos[turn] - imaginary * this.sin[turn];
    out[2 * to + 1] += real * this.sin[turn] + imaginary * this.cos[turn];
  }
}
