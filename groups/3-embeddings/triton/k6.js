// KServe v2 over HTTP with the binary tensor extension, and over gRPC with raw tensors: as tritonclient asks.
import encoding from "k6/encoding";
import { study } from "../../../shared/k6/js/study.js";

const MODEL = "embed";
const INPUT = "TEXT";
const OUTPUT = "EMBEDDING";

const run = study({
  rest: {
    request: ({ target, payloads }) => {
      const texts = bytesTensor(payloads.map((payload) => payload.bytes));
      const header = ascii(
        JSON.stringify({
          inputs: [
            {
              name: INPUT,
              datatype: "BYTES",
              shape: [payloads.length, 1],
              parameters: { binary_data_size: texts.byteLength },
            },
          ],
          outputs: [{ name: OUTPUT, parameters: { binary_data: true } }],
        }),
      );
      return {
        protocol: "http",
        method: "POST",
        url: `http://${target.http}/v2/models/${MODEL}/infer`,
        headers: {
          "Content-Type": "application/octet-stream",
          "Inference-Header-Content-Length": `${header.byteLength}`,
        },
        body: joined([header, texts]),
      };
    },
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 200) return { error: `${response.status}: ${response.text()}` };
      const name = Object.keys(response.headers).find(
        (key) => key.toLowerCase() === "inference-header-content-length",
      );
      if (!name) return { error: "no binary tensor in the response" };
      const length = Number(response.headers[name]);
      const { outputs } = JSON.parse(text(response.body.slice(0, length)));
      return vectors(outputs[0], response.body.slice(length), payloads.length, plan);
    },
  },
  grpc: {
    request: ({ target, payloads }) => ({
      protocol: "grpc",
      target: target.grpc,
      proto: "grpc_service.proto",
      method: "/inference.GRPCInferenceService/ModelInfer",
      message: {
        model_name: MODEL,
        inputs: [{ name: INPUT, datatype: "BYTES", shape: [payloads.length, 1] }],
        outputs: [{ name: OUTPUT }],
        raw_input_contents: [bytesTensor(payloads.map((payload) => payload.bytes))],
      },
    }),
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 0) return { error: `${response.status}: ${response.error}` };
      const { outputs, raw_output_contents, rawOutputContents } = response.message;
      const raw = raw_output_contents || rawOutputContents || [];
      if (raw.length !== 1) return { error: `${raw.length} tensors in the response` };
      return vectors(outputs[0], encoding.b64decode(raw[0], "std"), payloads.length, plan);
    },
  },
});

export const options = run.options;
export default run.iteration;

// EMBEDDING, [texts, dimensions] float32, to what the runner compares; the numbers themselves only where they are looked at.
function vectors(tensor, raw, texts, plan) {
  if (tensor.name !== OUTPUT || tensor.datatype !== "FP32") return { error: `${tensor.name} is ${tensor.datatype}` };
  const [rows, dimensions] = tensor.shape.map(Number);
  if (rows !== texts || raw.byteLength !== 4 * rows * dimensions) {
    return { error: `${OUTPUT} has shape [${tensor.shape}] and ${raw.byteLength} bytes for ${texts} texts` };
  }
  const all = new Float32Array(raw);
  const keys = [];
  const answers = [];
  for (let row = 0; row < rows; row++) {
    const vector = all.subarray(row * dimensions, (row + 1) * dimensions);
    keys.push(largest(vector));
    if (plan.mode === "check") answers.push(Array.from(vector));
  }
  return { units: rows, answers, keys };
}

// The index of the component with the largest absolute value, the first one on a tie.
function largest(vector) {
  let best = 0;
  let most = -1;
  for (let i = 0; i < vector.length; i++) {
    const size = Math.abs(vector[i]);
    if (size > most) {
      most = size;
      best = i;
    }
  }
  return `${best}`;
}

// A BYTES tensor: each element after its length, four bytes, little endian.
function bytesTensor(elements) {
  const parts = [];
  for (const element of elements) {
    const length = new ArrayBuffer(4);
    new DataView(length).setUint32(0, element.byteLength, true);
    parts.push(length, element);
  }
  return joined(parts);
}

function joined(buffers) {
  const all = new Uint8Array(buffers.reduce((size, buffer) => size + buffer.byteLength, 0));
  let offset = 0;
  for (const buffer of buffers) {
    all.set(new Uint8Array(buffer), offset);
    offset += buffer.byteLength;
  }
  return all.buffer;
}

function ascii(string) {
  return new Uint8Array([...string].map((char) => char.charCodeAt(0))).buffer;
}

function text(buffer) {
  return String.fromCharCode(...new Uint8Array(buffer));
}
