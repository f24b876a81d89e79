// This stack's requests and how their answers are read. Load shapes and clocks are shared/k6's.
import encoding from "k6/encoding";
import { study } from "../../../shared/k6/js/study.js";

// What a right answer must say under load: which component is the largest.
function largest(vector) {
  let place = 0;
  for (let i = 1; i < vector.length; i++) if (Math.abs(vector[i]) > Math.abs(vector[place])) place = i;
  return String(place);
}

function check(vectors, payloads, plan) {
  if (vectors.length !== payloads.length) {
    return { error: `${vectors.length} vectors for ${payloads.length} texts` };
  }
  const answers = plan.mode === "check" ? vectors.map((vector) => Array.from(vector)) : [];
  return { units: vectors.length, answers, keys: vectors.map(largest) };
}

const run = study({
  rest: {
    // As the openai client asks by default: base64, which is a third of the size of numbers as text.
    request: ({ plan, target, payloads }) => ({
      protocol: "http",
      method: "POST",
      url: `http://${target.http}/v1/embeddings`,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        model: plan.model,
        input: payloads.map((payload) => payload.text()),
        encoding_format: "base64",
      }),
    }),
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 200) return { error: `${response.status} ${response.text()}` };
      const { data } = response.json();
      const vectors = data.map((each) => new Float32Array(encoding.b64decode(each.embedding)));
      return check(vectors, payloads, plan);
    },
  },
  grpc: {
    request: ({ plan, target, payloads }) => ({
      protocol: "grpc",
      target: target.grpc,
      proto: "embed.proto",
      method: "/study.embed.v1.Embedder/Embed",
      message: { inputs: payloads.map((payload) => payload.text()), model: plan.model },
      metadata: {},
    }),
    answer: ({ response, payloads, plan }) => {
      if (response.status !== 0) return { error: `${response.status} ${response.error}` };
      const vectors = (response.message.embeddings || []).map((each) => each.values);
      return check(vectors, payloads, plan);
    },
  },
});

export const options = run.options;
export default run.iteration;
