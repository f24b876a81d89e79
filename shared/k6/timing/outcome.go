package timing

import (
	"encoding/json"
	"fmt"
)

// outcome is what k6.js made of an answer.
type outcome struct {
	units  float64
	keys   []string // one a payload, or none
	tokens []int64  // one a chunk, where the answer streamed
	answer json.RawMessage
	fault  string
}

// finish judges the user's request by its outcome and records it.
func (u *user) finish(o outcome) error {
	x := u.current
	if x == nil {
		return nil
	}
	if x.stream && len(o.tokens) == len(x.stamps) { // also of a stream that broke: these chunks did come
		for i, tokens := range o.tokens {
			if tokens > 0 {
				x.chunks = append(x.chunks, x.stamps[i])
				x.tokens = append(x.tokens, tokens)
			}
		}
	}
	if x.fault == "" {
		x.fault = oneLine(o.fault)
	}
	if x.fault == "" && x.stream && len(o.tokens) != len(x.stamps) {
		x.fault = fmt.Sprintf("answer() gave %d token counts for %d chunks", len(o.tokens), len(x.stamps))
	}
	if err := u.run.writeAnswer(x, o); err != nil {
		return err
	}
	if x.fault == "" {
		x.fault = u.run.wrongKey(x.payloads, o.keys)
	}
	if x.ok = x.fault == ""; x.ok {
		x.units = o.units
	}
	u.current = nil
	u.run.put(&x.record)
	return nil
}

// wrongKey compares the keys of an answer with what was expected; "" if they agree.
func (r *run) wrongKey(payloads []int, keys []string) string {
	for i, payload := range payloads {
		if len(r.plan.Expected) == 0 || r.plan.Expected[payload] == nil {
			continue
		}
		if len(keys) != len(payloads) {
			return fmt.Sprintf("answer() gave %d keys for %d payloads", len(keys), len(payloads))
		}
		if expected := *r.plan.Expected[payload]; keys[i] != expected {
			return oneLine(fmt.Sprintf("wrong answer: expected %s, got %s", expected, keys[i]))
		}
	}
	return ""
}

// writeAnswer adds a line for the parity gate in check mode. A wrong key is no error here: the gate compares.
func (r *run) writeAnswer(x *exchange, o outcome) error {
	if r.answers == nil {
		return nil
	}
	line := struct {
		Payload string          `json:"payload"`
		Answer  json.RawMessage `json:"answer"`
		Error   *string         `json:"error"`
	}{Payload: r.plan.Payloads[x.payloads[0]].Name}
	if x.fault != "" {
		line.Error = &x.fault
	} else {
		line.Answer = o.answer
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("answers: %w", err)
	}
	if _, err := r.answers.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("answers: %w", err)
	}
	return nil
}
