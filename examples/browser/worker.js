// Runs the model in a worker, so that the page stays responsive: answers [method, argument, port].
import { Model } from "./model.js";

let model;
let estimates; // those of each chunk of the current recording

const methods = {
  load: async (folder) => (model = await Model.load(folder)).description,
  begin: (chunks) => void (estimates = chunks.map(({ samples }) => model.estimates(samples))),
  repeat: async (chunk) => (await estimates[chunk].next()).value,
};

self.addEventListener("message", async ({ data: [method, argument, port] }) => {
  try {
    port.postMessage({ result: await methods[method](argument) });
  } catch (error) {
    port.postMessage({ error: error.message ?? String(error) });
  }
});
