// TGI's own routes for completions, its OpenAI route for chats. Written from its documentation, never run against it.
import { study } from "../../../shared/k6/js/study.js";

// A payload is a completion ({prompt, max_tokens}) or a chat ({messages, max_tokens}).
function post(target, payload, stream) {
  const asked = JSON.parse(payload.text());
  const request = {
    protocol: stream ? "sse" : "http",
    method: "POST",
    headers: { "Content-Type": "application/json" },
  };
  if (asked.messages) {
    // Any model but "tgi" means a LoRA adapter; only a temperature of 0 makes this route greedy.
    const body = { model: "tgi", ...asked, temperature: 0, stream };
    if (stream) body.stream_options = { include_usage: true };
    return { ...request, url: `http://${target.http}/v1/chat/completions`, body: JSON.stringify(body) };
  }
  const parameters = { max_new_tokens: asked.max_tokens, do_sample: false, details: true };
  return {
    ...request,
    url: `http://${target.http}/${stream ? "generate_stream" : "generate"}`,
    body: JSON.stringify({ inputs: asked.prompt, parameters }),
  };
}

// TGI can't be told to ignore the end of text: fewer tokens than asked for are right if the server counts the same.
// `ids` is empty for a chat: that route gives none, and so nothing to compare with the reference.
function judged(ids, events, generated, text) {
  if (generated === undefined) return { error: "the answer doesn't say how many tokens were generated" };
  if (events !== generated) return { error: `${events} tokens, the server says ${generated}` };
  if (!text) return { error: "no text in the answer" };
  return { units: generated, answers: [ids], keys: [ids.join(" ")] };
}

// One event a token: {token: {id, text, special}, …}; the last one has the count as well. No [DONE].
function readGenerate(chunks) {
  const tokens = [];
  const ids = [];
  let held = 0; // tokens without text, half a character: read with the next text
  let text = "";
  let generated;
  let fault = null;
  for (const { data } of chunks) {
    const event = JSON.parse(data);
    tokens.push(0);
    if (event.error) {
      fault = `${event.error_type}: ${event.error}`; // a refusal too comes as an event, with status 200
      continue;
    }
    ids.push(event.token.id);
    held += 1;
    if (!event.token.special && event.token.text) {
      text += event.token.text;
      tokens[tokens.length - 1] = held;
      held = 0;
    }
    if (event.details) generated = event.details.generated_tokens;
  }
  return fault ? { tokens, error: fault } : { tokens, ...judged(ids, ids.length, generated, text) };
}

// One event a token, then one with the usage, then [DONE].
function readChat(chunks) {
  const tokens = [];
  let events = 0;
  let held = 0;
  let text = "";
  let generated;
  let ended = false;
  let fault = null;
  for (const { data } of chunks) {
    tokens.push(0);
    if (data === "[DONE]") {
      ended = true;
      continue;
    }
    const event = JSON.parse(data);
    if (event.error) {
      fault = event.error.message;
      continue;
    }
    if (event.usage) generated = event.usage.completion_tokens;
    if (!event.choices.length) continue;
    const said = event.choices[0].delta.content;
    events += 1;
    held += 1;
    if (said) {
      text += said;
      tokens[tokens.length - 1] = held;
      held = 0;
    }
  }
  if (fault) return { tokens, error: fault };
  if (!ended) return { tokens, error: "the stream ended without [DONE]" };
  return { tokens, ...judged([], events, generated, text) };
}

const run = study({
  sse: {
    request: ({ target, payloads }) => post(target, payloads[0], true),
    answer: ({ response, payloads }) =>
      JSON.parse(payloads[0].text()).messages ? readChat(response.chunks) : readGenerate(response.chunks),
  },
  rest: {
    request: ({ target, payloads }) => post(target, payloads[0], false),
    answer: ({ response }) => {
      const body = response.json();
      if (body.choices) {
        const generated = body.usage.completion_tokens;
        return judged([], generated, generated, body.choices[0].message.content);
      }
      const ids = body.details.tokens.map((token) => token.id);
      return judged(ids, ids.length, body.details.generated_tokens, body.generated_text);
    },
  },
});

export const options = run.options;
export default run.iteration;
