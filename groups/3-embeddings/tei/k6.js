// TEI's three ways to ask: its own /embed, OpenAI's /v1/embeddings, and gRPC, which takes one text a call.
import encoding from "k6/encoding";
import { study } from "../../../shared/k6/js/study.js";

const JSON_TYPE = { "Content-Type": "application/json" };

const run = study({
  rest: {
    request: ({ target, payloads }) => ({
      protocol: "http",
      method: "POST",
      url: `http://${target.http}/embed`,
      headers: JSON_TYPE,
      body: JSON.stringify({ inputs: payloads.map((payload) => payload.text()), truncate: true, normalize: true }),
    }),
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 200) return { error: `${response.status}: ${response.text()}` };
      return vectors(response.json(), payloads.length, plan);
    },
  },
  openai: {
    request: ({ plan, target, payloads }) => ({
      protocol: "http",
      method: "POST",
      url: `http://${target.http}/v1/embeddings`,
      headers: JSON_TYPE,
      // base64 is what OpenAI's own Python client asks for unless told otherwise.
      body: JSON.stringify({
        input: payloads.map((payload) => payload.text()),
        model: plan.model,
        encoding_format: "base64",
      }),
    }),
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 200) return { error: `${response.status}: ${response.text()}` };
      const data = response.json().data;
      const misplaced = data.find((entry, i) => entry.index !== i);
      if (misplaced) return { error: `the vector of text ${misplaced.index} is out of its place` };
      return vectors(data.map((entry) => floats(entry.embedding)), payloads.length, plan);
    },
  },
  grpc: {
    request: ({ target, payloads }) => {
      if (payloads.length !== 1) throw new Error("tei.v1.Embed/Embed takes one text a call");
      return {
        protocol: "grpc",
        target: target.grpc,
        proto: "tei.proto",
        method: "/tei.v1.Embed/Embed",
        message: { inputs: payloads[0].text(), truncate: true, normalize: true },
      };
    },
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 0) return { error: `${response.status}: ${response.error}` };
      return vectors([response.message.embeddings || []], payloads.length, plan);
    },
  },
});

export const options = run.options;
export default run.iteration;

// One vector a text, all of one length, to what the runner compares; the vectors themselves only where they are looked at.
function vectors(rows, texts, plan) {
  if (rows.length !== texts) return { error: `${rows.length} vectors for ${texts} texts` };
  const length = rows[0].length;
  if (length === 0 || rows.some((row) => row.length !== length)) return { error: "a vector is empty or shorter" };
  return {
    units: rows.length,
    answers: plan.mode === "check" ? rows.map((row) => Array.from(row)) : [],
    keys: rows.map(largest),
  };
}

// The index of the component with the largest absolute value, the first one on a tie.
function largest(row) {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (Math.abs(row[i]) > Math.abs(row[best])) best = i;
  return `${best}`;
}

// OpenAI's two encodings: numbers, or base64 of little-endian float32.
function floats(embedding) {
  return typeof embedding === "string" ? new Float32Array(encoding.b64decode(embedding, "std")) : embedding;
}
