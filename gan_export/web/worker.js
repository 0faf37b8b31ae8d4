// A worker with its own engine: takes {open: {module, file}}, then {job, ...} or {image}, and answers each message once.
import { Engine } from "./engine.js";

const inNode = typeof WorkerGlobalScope === "undefined";
const port = inNode ? (await import("node:worker_threads")).parentPort : self;
let engine;

port.onmessage = ({ data }) => {
  try {
    if (data.open) {
      engine = new Engine(data.open.module, data.open.file);
      port.postMessage({ info: engine.info });
    } else if (data.image) {
      const made = engine.apply(data.image);
      port.postMessage({ made }, [made.data.buffer]);
    } else {
      const pixels = engine.generate(data.job);
      port.postMessage({ pixels }, [pixels.buffer]);
    }
  } catch (e) {
    port.postMessage({ error: e.message });
  }
};
