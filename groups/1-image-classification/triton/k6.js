// KServe v2 over HTTP with the binary tensor extension, and over gRPC with raw tensors: as tritonclient asks.
import encoding from "k6/encoding";
import { study } from "../../../shared/k6/js/study.js";

const MODEL = "classify";
const OUTPUTS = ["LABEL", "INDEX", "PROBABILITY"];
const TOP = 5;

const run = study({
  rest: {
    request: ({ target, payloads }) => {
      const images = bytesTensor(payloads.map((payload) => payload.bytes));
      const header = ascii(
        JSON.stringify({
          inputs: [
            {
              name: "IMAGE",
              datatype: "BYTES",
              shape: [payloads.length, 1],
              parameters: { binary_data_size: images.byteLength },
            },
          ],
          outputs: OUTPUTS.map((name) => ({ name, parameters: { binary_data: true } })),
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
        body: joined([header, images]),
      };
    },
    answer: ({ response, payloads }) => {
      if (response.status !== 200) return { error: `${response.status}: ${response.text()}` };
      const name = Object.keys(response.headers).find(
        (key) => key.toLowerCase() === "inference-header-content-length",
      );
      if (!name) return { error: "no binary tensors in the response" };
      let offset = Number(response.headers[name]);
      const header = JSON.parse(text(response.body.slice(0, offset)));
      const tensors = header.outputs.map((output) => {
        const start = offset;
        offset += output.parameters.binary_data_size;
        return { ...output, raw: response.body.slice(start, offset) };
      });
      return answers(tensors, payloads.length);
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
        inputs: [{ name: "IMAGE", datatype: "BYTES", shape: [payloads.length, 1] }],
        outputs: OUTPUTS.map((name) => ({ name })),
        raw_input_contents: [bytesTensor(payloads.map((payload) => payload.bytes))],
      },
    }),
    answer: ({ response, payloads }) => {
      if (response.status !== 0) return { error: `${response.status}: ${response.error}` };
      const { outputs, raw_output_contents, rawOutputContents } = response.message;
      const raw = raw_output_contents || rawOutputContents || [];
      const tensors = (outputs || []).map((output, i) => ({
        ...output,
        raw: encoding.b64decode(raw[i], "std"),
      }));
      return answers(tensors, payloads.length);
    },
  },
});

export const options = run.options;
export default run.iteration;

// LABEL, INDEX and PROBABILITY, each [images, 5], best first, to the form of the parity kind "top_k".
function answers(tensors, images) {
  const named = {};
  for (const tensor of tensors) {
    if (`${tensor.shape}` !== `${[images, TOP]}`) {
      return { error: `${tensor.name} has shape [${tensor.shape}], not [${images},${TOP}]` };
    }
    named[tensor.name] = tensor.raw;
  }
  const missing = OUTPUTS.find((name) => !named[name]);
  if (missing) return { error: `no ${missing} in the response` };
  const index = new Int32Array(named.INDEX);
  const probability = new Float32Array(named.PROBABILITY);
  if (labelCount(named.LABEL) !== images * TOP) return { error: "an answer has no label" };
  const rows = [];
  for (let i = 0; i < images; i++) {
    const row = [];
    for (let j = i * TOP; j < (i + 1) * TOP; j++) row.push([index[j], probability[j]]);
    rows.push(row);
  }
  return { units: images, answers: rows, keys: rows.map((row) => `${row[0][0]}`) };
}

// How many elements that aren't empty a BYTES tensor holds.
function labelCount(raw) {
  const view = new DataView(raw);
  let count = 0;
  let offset = 0;
  while (offset < raw.byteLength) {
    const length = view.getUint32(offset, true);
    if (length > 0) count += 1;
    offset += 4 + length;
  }
  return count;
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
