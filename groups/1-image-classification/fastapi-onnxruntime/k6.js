// This stack's requests and how their answers are read. Load shapes and clocks are shared/k6's.
import { study } from "../../../shared/k6/js/study.js";

// One picture's answer: [[class index, probability], …], most probable first.
const topFive = (predictions) => predictions.map((p) => [p.index, p.probability]);

function check(results, payloads) {
  if (results.length !== payloads.length) {
    return { error: `${results.length} results for ${payloads.length} images` };
  }
  for (const result of results) {
    if (result.predictions.length !== 5) {
      return { error: `${result.predictions.length} predictions instead of 5` };
    }
  }
  const answers = results.map((result) => topFive(result.predictions));
  return { units: answers.length, answers, keys: answers.map((top) => String(top[0][0])) };
}

const run = study({
  rest: {
    request: ({ target, payloads }) =>
      payloads.length === 1
        ? {
            protocol: "http",
            method: "POST",
            url: `http://${target.http}/v1/classify`,
            headers: { "Content-Type": "image/jpeg" },
            body: payloads[0].bytes,
          }
        : {
            protocol: "http",
            method: "POST",
            url: `http://${target.http}/v1/classify/batch`,
            headers: {},
            parts: payloads.map((payload) => ({
              name: "image",
              filename: `${payload.name}.jpg`,
              type: "image/jpeg",
              body: payload.bytes,
            })),
          },
    answer: ({ response, payloads }) => {
      if (response.status !== 200) return { error: `${response.status} ${response.text()}` };
      const body = response.json();
      return check(body.results ?? [body], payloads);
    },
  },
  grpc: {
    request: ({ target, payloads }) => ({
      protocol: "grpc",
      target: target.grpc,
      proto: "classify.proto",
      method: "/study.classify.v1.Classifier/Classify",
      message: { images: payloads.map((payload) => payload.bytes) },
      metadata: {},
    }),
    answer: ({ response, payloads }) => {
      if (response.status !== 0) return { error: `${response.status} ${response.error}` };
      return check(response.message.results ?? [], payloads);
    },
  },
});

export const options = run.options;
export default run.iteration;
