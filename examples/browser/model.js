// An exported model, run by ONNX Runtime Web.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { Transform } from "./transform.js";

const FORMAT = 2; // of model.json, as in espnet2_tisdiss/onnx/folder.py

export class Model {
  // Loads a folder written by tisdiss export.
  static async load(folder) {
    const description = await (await fetched(`${folder}/model.json`)).json();
    if (description.format !== FORMAT)
      throw new Error(`${folder}/model.json: format must be ${FORMAT}; export the model again`);
    const model = Object.assign(new Model(), { description, graphs: {} });
    model.transform = new Transform(description);
    for (const graph of ["encode", "repeat", "decode"])
      model.graphs[graph] = await session(`${folder}/${graph}.onnx`, description);
    return model;
  }

  // Yields the estimates, samples of each speaker, after 1, 2, ... repetitions, without end: the
  // caller stops at the depth it wants.
  async *estimates(samples) {
    const { spectrum, frames, scale } = this.transform.encode(samples);
    const input = new ort.Tensor(spectrum, [frames, this.transform.bins, 2]);
    const state = await this.graphs.encode.run({ spectrum: input });
    for (;;) {
      state.streams = (await this.graphs.repeat.run(state)).next_streams;
      const found = await this.graphs.decode.run({ streams: state.streams, spectrum: input });
      const { data } = found.estimates;
      yield Array.from({ length: this.description.num_spk }, (_, j) => {
        const speaker = data.subarray(j * spectrum.length, (j + 1) * spectrum.length);
        return this.transform.decode(speaker, samples.length, scale);
      });
    }
  }
}

async function session(path, { files }) {
  const digest = files[path.split("/").pop()];
  const integrity = `sha256-${Uint8Array.fromHex(digest).toBase64()}`; // checked by the browser
  const graph = await (await fetched(path, { integrity })).arrayBuffer();
  return ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
}

async function fetched(path, options = {}) {
  const answer = await fetch(path, { cache: "no-cache", ...options }).catch((error) => {
    throw new Error(`${path}: cannot be read, or differs from its SHA-256 (${error.message})`);
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.statusText}; put a model there: tisdiss export`);
  return answer;
}
