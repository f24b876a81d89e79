// A prompt in, text out: OpenAI's two routes whole and streamed, the WebSocket, and gRPC.
import { study } from "../../../shared/k6/js/study.js";

const asked = ({ plan, payloads }) => ({
  model: plan.model,
  ...JSON.parse(payloads[0].text()),
  temperature: 0,
  ignore_eos: true,
  return_token_ids: true,
});

const post = (protocol, more) => ({ plan, target, payloads }) => {
  const body = asked({ plan, payloads });
  return {
    protocol,
    method: "POST",
    url: `http://${target.http}/v1/${body.messages ? "chat/completions" : "completions"}`,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, ...more }),
  };
};

// `ids`: of each chunk; the answer is right if it has the length that was asked for, by every count.
function judge(payload, ids, text, finish, usage) {
  const tokens = ids.map((some) => some.length);
  const all = ids.flat();
  const wanted = JSON.parse(payload.text()).max_tokens;
  const counted = usage && usage.completion_tokens;
  if (finish !== "length") return { error: `the answer ended with ${finish}`, tokens };
  if (all.length !== wanted || counted !== wanted) {
    return { error: `${all.length} tokens, usage ${counted}, asked for ${wanted}`, tokens };
  }
  if (!text) return { error: "the answer has no text", tokens };
  return { units: counted, answers: [all], keys: [all.join(" ")], tokens };
}

function events({ response, payloads }) {
  const last = response.chunks.length - 1;
  let text = "";
  let finish, usage, fault;
  const ids = response.chunks.map(({ data }, i) => {
    if (data === "[DONE]") {
      if (i !== last) fault = "[DONE] is not the last event";
      return [];
    }
    const event = JSON.parse(data);
    if (event.error) fault = event.error.message;
    if (event.usage) usage = event.usage;
    const choice = (event.choices || [])[0];
    if (!choice) return [];
    text += choice.delta ? choice.delta.content || "" : choice.text;
    finish = choice.finish_reason || finish;
    return choice.token_ids || [];
  });
  if (last < 0 || response.chunks[last].data !== "[DONE]") fault = fault || "the stream ended without [DONE]";
  const judged = judge(payloads[0], ids, text, finish, usage);
  return fault ? { error: fault, tokens: judged.tokens } : judged;
}

const run = study({
  sse: { request: post("sse", { stream: true, stream_options: { include_usage: true } }), answer: events },
  rest: {
    request: post("http", {}),
    answer: ({ response, payloads }) => {
      const { choices, usage } = response.json();
      const { message, text, token_ids, finish_reason } = choices[0];
      const { tokens, ...judged } = judge(payloads[0], [token_ids], message ? message.content : text, finish_reason, usage);
      return judged;
    },
  },
  ws: {
    request: ({ plan, target, payloads }) => ({
      protocol: "ws",
      url: `ws://${target.http}/v1/stream`,
      message: JSON.stringify(asked({ plan, payloads })),
      until: '"done":true',
    }),
    answer: ({ response, payloads }) => {
      const frames = response.chunks.map(({ data }) => JSON.parse(data));
      const end = frames[frames.length - 1];
      const ids = frames.map((frame) => frame.token_ids || []);
      if (end.error) return { error: end.error.message, tokens: ids.map((some) => some.length) };
      return judge(payloads[0], ids, frames.map((frame) => frame.text).join(""), end.finish_reason, end.usage);
    },
  },
  grpc: {
    request: ({ plan, target, payloads }) => {
      const { prompt, messages, max_tokens } = JSON.parse(payloads[0].text());
      return {
        protocol: "grpc-stream",
        target: target.grpc,
        proto: "generate.proto",
        method: "/study.generate.v1.Generator/Generate",
        message: { model: plan.model, prompt: prompt || "", messages: messages || [], max_tokens, temperature: 0, ignore_eos: true },
      };
    },
    answer: ({ response, payloads }) => {
      const chunks = response.chunks.map(({ message }) => message);
      const end = chunks[chunks.length - 1] || {};
      const usage = end.usage && { completion_tokens: end.usage.completionTokens };
      const text = chunks.map((chunk) => chunk.text).join("");
      return judge(payloads[0], chunks.map((chunk) => chunk.tokenIds), text, end.finishReason, usage);
    },
  },
});

export const options = run.options;
export default run.iteration;
