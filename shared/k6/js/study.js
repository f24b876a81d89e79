// What every stack's k6.js imports. The schedule, the clock, the sending and the records are Go's (../timing); a k6.js
// says what a request is and whether its answer is right.
import timing from "k6/x/timing";

// `interfaces`: {name: {request({plan, target, payloads}), answer({response, payloads, plan})}}, as shared/README.md has it.
export function study(interfaces) {
  const { plan, users } = timing.open(__ENV.PLAN);
  const asked = interfaces[plan.interface];
  if (!asked) {
    throw new Error(`k6.js has no interface "${plan.interface}", only ${Object.keys(interfaces).join(", ")}`);
  }
  const check = plan.mode === "check";
  const most = check ? plan.payloads.length * plan.timeout_s : plan.warmup_s + plan.window_s + plan.timeout_s;

  function judge({ response, payloads, failed }) {
    // A stream that broke is read all the same: the chunks that did come were measured. Anything else has no answer.
    if (failed && !(response.chunks && response.chunks.length)) return { error: "failed" };
    try {
      const said = asked.answer({ response, payloads, plan });
      if (!check || said.error) return said;
      return { ...said, answer: JSON.stringify(said.answers[0]) };
    } catch (error) {
      return { error: `the answer can't be read: ${error}` };
    }
  }

  return {
    options: {
      scenarios: {
        study: {
          executor: "per-vu-iterations", // one iteration a user: it lasts the whole run
          vus: users,
          iterations: 1,
          maxDuration: `${Math.ceil(most) + 300}s`, // the schedule ends the run; this only ends one that hangs
          gracefulStop: "0s",
        },
      },
    },
    iteration() {
      timing.join((payloads) => asked.request({ plan, target: plan.targets, payloads }));
      for (let turn = timing.exchange(); turn !== null; turn = timing.exchange()) timing.record(judge(turn));
    },
  };
}
