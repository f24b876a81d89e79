// The null server's k6.js: every answer carries the server's number of the request, recorded as its units.
import encoding from "k6/encoding";
import { study } from "../js/study.js";

// What a test wants of the server travels in plan.request.
const query = (asked) =>
  Object.entries(asked)
    .map(([name, value]) => `${name}=${value}`)
    .join("&");

const url = (scheme, path) => ({ plan, target }) => `${scheme}://${target.http}${path}?${query(plan.request)}`;

const streamed = (texts) => ({
  units: texts.find((text) => text.request).request,
  answers: [texts.length],
  keys: ["word"],
  tokens: texts.map((text) => (text.text ? 1 : 0)),
});

const call = (protocol, method) => ({ plan, target, payloads }) => ({
  protocol,
  target: target.grpc,
  proto: "../nullserver/null.proto",
  method: `/study.nullserver.v1.Null/${method}`,
  message: { ...plan.request, payload: payloads[0].bytes },
});

const run = study({
  http: {
    request: (asked) => ({
      protocol: "http",
      method: "POST",
      url: url("http", "/unary")(asked),
      headers: { "Content-Type": "application/octet-stream" },
      body: asked.payloads[0].bytes,
    }),
    answer: ({ response }) => {
      const body = response.json();
      return { units: body.request, answers: [body.received], keys: ["word"] };
    },
  },
  json: {
    request: (asked) => ({
      protocol: "http",
      method: "POST",
      url: url("http", "/json")(asked),
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ payload: encoding.b64encode(asked.payloads[0].bytes) }),
    }),
    answer: ({ response }) => {
      const body = response.json();
      return { units: body.request, answers: [body.received], keys: ["word"] };
    },
  },
  multipart: {
    request: (asked) => ({
      protocol: "http",
      method: "POST",
      url: url("http", "/unary")(asked),
      parts: asked.payloads.map(({ name, bytes }) => ({ name: "file", filename: name, type: "text/plain", body: bytes })),
    }),
    answer: ({ response, payloads }) => ({
      units: response.json().request,
      answers: payloads.map(() => response.json().received),
      keys: payloads.map(() => "word"),
    }),
  },
  sse: {
    request: (asked) => ({
      protocol: "sse",
      method: "POST",
      url: url("http", "/events")(asked),
      body: asked.payloads[0].bytes,
    }),
    answer: ({ response }) =>
      streamed(response.chunks.map(({ data }) => (data === "[DONE]" ? {} : JSON.parse(data)))),
  },
  ws: {
    request: (asked) => ({
      protocol: "ws",
      url: url("ws", "/ws")(asked),
      message: asked.payloads[0].bytes,
      until: '"last"',
    }),
    answer: ({ response }) => streamed(response.chunks.map(({ data }) => JSON.parse(data))),
  },
  grpc: {
    request: call("grpc", "Unary"),
    answer: ({ response: { message } }) => ({
      units: Number(message.request),
      answers: [Number(message.receivedBytes)],
      keys: [message.text.trim()],
    }),
  },
  "grpc-stream": {
    request: call("grpc-stream", "Stream"),
    answer: ({ response }) =>
      streamed(response.chunks.map(({ message }) => ({ request: Number(message.request), text: message.text }))),
  },
  // Says when its answers were checked, in ms since 1970.
  checked: {
    request: (asked) => ({ protocol: "http", method: "POST", url: url("http", "/unary")(asked) }),
    answer: () => ({ error: `checked at ${Date.now()}` }),
  },
});

export const options = run.options;
export default run.iteration;
