// This stack's requests and how their answers are read. Load shapes and clocks are shared/k6's.
import { b64decode } from "k6/encoding";
import { study } from "../../../shared/k6/js/study.js";

// A picture's answer: [[class index, probability], …], most probable first.
const topFive = ({ predictions }) => predictions.map((p) => [p.index, p.probability]);

function check(body, payloads) {
  // Over gRPC TorchServe reports success for a request that the handler refused: look at the body.
  if (body.code !== undefined) return { error: `${body.code} ${body.message}` };
  const results = body.results ?? [body];
  if (results.length !== payloads.length) {
    return { error: `${results.length} results for ${payloads.length} images` };
  }
  const answers = results.map(topFive);
  const short = answers.find((answer) => answer.length !== 5);
  if (short) return { error: `${short.length} predictions instead of 5` };
  return { units: answers.length, answers, keys: answers.map((answer) => String(answer[0][0])) };
}

const run = study({
  rest: {
    request: ({ plan, target, payloads }) => {
      const request = {
        protocol: "http",
        method: "POST",
        url: `http://${target.http}/predictions/${plan.model}`,
      };
      if (payloads.length === 1) {
        const headers = { "Content-Type": "application/octet-stream" };
        return { ...request, headers, body: payloads[0].bytes };
      }
      // The handler answers a form's parts in the order of their names.
      const parts = payloads.map(({ bytes }, i) => ({
        name: `${i}`, filename: `${i}`, type: "application/octet-stream", body: bytes,
      }));
      return { ...request, headers: {}, parts };
    },
    answer: ({ response, payloads }) =>
      response.status === 200
        ? check(response.json(), payloads)
        : { error: `${response.status} ${response.text()}` },
  },
  grpc: {
    request: ({ plan, target, payloads }) => ({
      protocol: "grpc",
      target: target.grpc,
      proto: "inference.proto",
      method: "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions",
      message: {
        model_name: plan.model,
        input:
          payloads.length === 1
            ? { data: payloads[0].bytes }
            : Object.fromEntries(payloads.map(({ bytes }, i) => [`${i}`, bytes])),
      },
      metadata: {},
    }),
    answer: ({ response, payloads }) =>
      response.status === 0
        ? check(JSON.parse(b64decode(response.message.prediction, "std", "s")), payloads)
        : { error: `${response.status} ${response.error}` },
  },
});

export const options = run.options;
export default run.iteration;
