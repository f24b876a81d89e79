// vLLM's OpenAI routes: completions and chat, as one JSON answer or as server-sent events.
import { study } from "../../../shared/k6/js/study.js";

// A payload is a completion ({prompt, max_tokens}) or a chat ({messages, max_tokens}).
function post(plan, target, payload, more) {
  const asked = JSON.parse(payload.text());
  return {
    protocol: more.stream ? "sse" : "http",
    method: "POST",
    url: `http://${target.http}/v1/${asked.messages ? "chat/completions" : "completions"}`,
    headers: { "Content-Type": "application/json" },
    // return_token_ids is vLLM's own: tokens are counted from ids, never from text.
    body: JSON.stringify({
      model: plan.model,
      ...asked,
      temperature: 0,
      ignore_eos: true,
      return_token_ids: true,
      ...more,
    }),
  };
}

// What an answer must be to count: the ids, as many as were asked for, and the server's own count of them.
function judged(payload, ids, text, finish, usage) {
  const asked = JSON.parse(payload.text()).max_tokens;
  if (finish !== "length") return { error: `finish_reason is ${finish}, not length` };
  if (!usage) return { error: "no usage in the answer" };
  if (usage.completion_tokens !== ids.length || ids.length !== asked) {
    return { error: `${ids.length} token ids, usage says ${usage.completion_tokens}, asked for ${asked}` };
  }
  if (!text) return { error: "no text in the answer" };
  return { units: ids.length, answers: [ids], keys: [ids.join(" ")] };
}

const run = study({
  sse: {
    request: ({ plan, target, payloads }) =>
      post(plan, target, payloads[0], { stream: true, stream_options: { include_usage: true } }),
    answer: ({ response, payloads }) => {
      const tokens = [];
      const ids = [];
      let held = 0; // tokens without text, half a character: read with the next text
      let text = "";
      let finish = null;
      let usage = null;
      let ended = false;
      let fault = null;
      for (const { data } of response.chunks) {
        tokens.push(0);
        if (data === "[DONE]") {
          ended = true;
          continue;
        }
        const event = JSON.parse(data);
        if (event.error) fault = event.error.message;
        usage = event.usage || usage;
        const choice = event.choices && event.choices[0]; // the event with the usage has none
        if (!choice) continue;
        const said = choice.delta ? choice.delta.content : choice.text; // a chat's first event has a role only
        const given = choice.token_ids || [];
        text += said || "";
        finish = choice.finish_reason || finish;
        ids.push(...given);
        held += given.length;
        if (said) {
          tokens[tokens.length - 1] = held;
          held = 0;
        }
      }
      if (fault) return { tokens, error: fault };
      if (!ended) return { tokens, error: "the stream ended without [DONE]" };
      return { tokens, ...judged(payloads[0], ids, text, finish, usage) };
    },
  },
  rest: {
    request: ({ plan, target, payloads }) => post(plan, target, payloads[0], {}),
    answer: ({ response, payloads }) => {
      const { choices, usage } = response.json();
      const choice = choices[0];
      const text = choice.message ? choice.message.content : choice.text;
      return judged(payloads[0], choice.token_ids || [], text, choice.finish_reason, usage);
    },
  },
});

export const options = run.options;
export default run.iteration;
