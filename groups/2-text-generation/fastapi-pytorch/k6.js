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

// What comes without text is read with the next text: half a character, or what may begin a stop string.
function reading(chunks) {
  let held = 0;
  return chunks.map(({ ids, text }) => {
    const tokens = held + ids.length;
    held = text ? 0 : tokens;
    return text ? tokens : 0;
  });
}

// `chunks`: ids and text of each; the answer is right if it has the length that was asked for, by every count.
function judge(payload, chunks, finish, usage) {
  const tokens = reading(chunks);
  const all = chunks.flatMap(({ ids }) => ids);
  const text = chunks.map((chunk) => chunk.text).join("");
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
  const nothing = { ids: [], text: "" };
  let finish, usage, fault;
  const chunks = response.chunks.map(({ data }, i) => {
    if (data === "[DONE]") {
      if (i !== last) fault = "[DONE] is not the last event";
      return nothing;
    }
    const event = JSON.parse(data);
    if (event.error) fault = event.error.message;
    if (event.usage) usage = event.usage;
    const choice = (event.choices || [])[0];
    if (!choice) return nothing;
    finish = choice.finish_reason || finish;
    return { ids: choice.token_ids || [], text: choice.delta ? choice.delta.content || "" : choice.text };
  });
  if (last < 0 || response.chunks[last].data !== "[DONE]") fault = fault || "the stream ended without [DONE]";
  const judged = judge(payloads[0], chunks, finish, usage);
  return fault ? { error: fault, tokens: judged.tokens } : judged;
}

const run = study({
  sse: { request: post("sse", { stream: true, stream_options: { include_usage: true } }), answer: events },
  rest: {
    request: post("http", {}),
    answer: ({ response, payloads }) => {
      const { choices, usage } = response.json();
      const { message, text, token_ids, finish_reason } = choices[0];
      const { tokens, ...judged } = judge(payloads[0], [{ ids: token_ids, text: message ? message.content : text }], finish_reason, usage);
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
      const chunks = frames.map(({ token_ids, text }) => ({ ids: token_ids || [], text: text || "" }));
      if (end.error) return { error: end.error.message, tokens: reading(chunks) };
      return judge(payloads[0], chunks, end.finish_reason, end.usage);
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
      const messages = response.chunks.map(({ message }) => message);
      const end = messages[messages.length - 1] || {};
      const usage = end.usage && { completion_tokens: end.usage.completionTokens };
      const chunks = messages.map(({ tokenIds, text }) => ({ ids: tokenIds, text }));
      return judge(payloads[0], chunks, end.finishReason, usage);
    },
  },
});

export const options = run.options;
export default run.iteration;
