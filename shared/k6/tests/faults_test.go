package tests

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"study/k6/nullserver"
)

// A request that takes too long is an error that says so and counts as never answered, in every protocol.
func TestTimeouts(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: time.Hour, Chunks: 1}})
	for _, protocol := range []string{"http", "sse", "ws", "grpc", "grpc-stream"} {
		out := healthy(t, planFor(t, server, object{"interface": protocol, "timeout_s": 0.2, "window_s": 0.5}))
		for _, r := range out.rows {
			if r.ok || r.status != -1 || r.done != 0 || r.sent == 0 || r.fault != "timeout after 0.2 s" {
				t.Errorf("%s: %+v", protocol, r)
			}
		}
		if len(out.rows) < 2 {
			t.Errorf("%s: after its first timeout the user sent nothing more", protocol)
		}
	}
}

// A server that isn't there: never answered, with the reason, not a latency of microseconds; and its users pause, so
// that they don't fill the disk with refusals.
func TestNoServer(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := socket.Addr().String()
	_ = socket.Close()
	server := start(t, nullserver.Settings{})
	for _, protocol := range []string{"http", "sse", "ws", "grpc", "grpc-stream"} {
		out := healthy(t, planFor(t, server, object{
			"interface": protocol, "targets": object{"http": nobody, "grpc": nobody}, "window_s": 0.2,
		}))
		for _, r := range out.rows {
			if r.ok || r.status != -1 || r.done != 0 || !strings.Contains(r.fault, "connection refused") {
				t.Fatalf("%s: %+v", protocol, r)
			}
		}
		if len(out.rows) > 3 { // at 0, 0.1 and 0.2 s at most
			t.Errorf("%s: %d requests in 0.2 s", protocol, len(out.rows))
		}
	}
}

// A refusal keeps its status and what it said, and is done when its last byte was there: refusals have latencies too.
func TestRefusals(t *testing.T) {
	server := start(t, nullserver.Settings{})
	for _, c := range []struct {
		protocol, says string
		request        object
		status         int64
	}{
		{"http", "HTTP 503: told to fail with 503", object{"status": 503}, 503},
		{"grpc", "gRPC 8 ResourceExhausted: told to fail", object{"code": 8}, 8},
		{"grpc-stream", "gRPC 8 ResourceExhausted: told to fail", object{"code": 8}, 8},
	} {
		out := healthy(t, planFor(t, server, object{
			"interface": c.protocol, "request": c.request, "window_s": 0.2,
		}))
		for _, r := range out.rows {
			if r.ok || r.status != c.status || r.fault != c.says || r.done <= r.sent || r.first < r.sent {
				t.Fatalf("%s: %+v", c.protocol, r)
			}
		}
	}
}

// A stream that breaks is never answered, but the chunks that came keep their stamps.
func TestABrokenStreamKeepsItsChunks(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Gap: 5 * time.Millisecond, Chunks: 8}})
	out := healthy(t, planFor(t, server, object{
		"interface": "sse", "request": object{"break": 3}, "window_s": 0.5,
	}))
	for _, r := range out.rows {
		if r.ok || r.status != -1 || r.done != 0 || len(r.chunks) != 3 || r.fault == "" {
			t.Fatalf("%+v", r)
		}
	}
}

// A right status with the wrong content is an error: an echo server would otherwise be the fastest stack.
func TestAWrongAnswerIsFlagged(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: 2 * time.Millisecond}})
	for _, protocol := range []string{"http", "grpc"} {
		out := healthy(t, planFor(t, server, object{
			"interface": protocol, "expected": []any{"word", "cat", nil}, "window_s": 0.3,
		}))
		wrong := 0
		for _, r := range out.rows {
			if r.payloads[0] != 1 {
				if !r.ok {
					t.Fatalf("%s: %+v", protocol, r)
				}
				continue
			}
			if wrong++; r.ok || r.fault != "wrong answer: expected cat, got word" || r.done == 0 {
				t.Fatalf("%s: %+v", protocol, r)
			}
		}
		if wrong == 0 {
			t.Errorf("%s: the payload with the wrong answer was never sent", protocol)
		}
	}
}

// Told to stop, k6 first puts on the disk all that was answered, unchecked; a prototype lost the last fifth of a second.
func TestRecordsSurviveASignal(t *testing.T) {
	const users = 2
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: 2 * time.Millisecond}})
		plan := planFor(t, server, object{"window_s": 600, "load": object{"kind": "closed", "users": users}})
		k6 := begin(t, plan)
		await(t, "a hundred requests", func() bool { return len(server.Log.Entries()) >= 100 })
		text, err := os.ReadFile(plan["summary"].(string))
		var early struct {
			Start int64 `json:"window_start_ns"`
			End   int64 `json:"window_end_ns"`
		}
		if err == nil {
			err = json.Unmarshal(text, &early)
		}
		if err != nil || early.End-early.Start != int64(600*time.Second) {
			t.Errorf("while k6 runs, the summary says %s (%v)", text, err)
		}
		if err := k6.command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		out := finish(t, plan, k6)
		if out.code != 105 {
			t.Errorf("%v: code %d: %s", signal, out.code, out.stderr)
		}
		answered := 0
		for _, r := range out.rows {
			if r.done > 0 {
				answered++
			}
			if r.fault != "interrupted" || r.ok {
				t.Errorf("%v: %+v", signal, r)
			}
		}
		if seen := len(entries(t, server)); answered < 90 || seen-answered > users {
			t.Errorf("%v: %d answers are recorded of %d that the server gave", signal, answered, seen)
		}
	}
}

// Check mode: each payload once, alone, in the manifest's order, with its answer or its error.
func TestCheckMode(t *testing.T) {
	server := start(t, nullserver.Settings{})
	out := healthy(t, planFor(t, server, object{
		"mode": "check", "load": object{}, "client_batch": 8, "expected": []any{nil, "cat", nil},
	}))
	if len(out.answers) != 3 || len(entries(t, server)) != 3 {
		t.Fatalf("%d answers to %d requests", len(out.answers), len(entries(t, server)))
	}
	for i, name := range []string{"one", "two", "three"} {
		got := out.answers[i]
		// A wrong key is the parity gate's business: it has both answers.
		if got.Payload != name || got.Error != nil || got.Answer != float64(payloadSize(i)) {
			t.Errorf("answer %d is %+v", i, got)
		}
		if out.rows[i].payloads[0] != int64(i) || i > 0 && out.rows[i].sent < out.rows[i-1].done {
			t.Errorf("payload %d is not sent alone and in order: %+v", i, out.rows[i])
		}
	}
	out = healthy(t, planFor(t, server, object{
		"mode": "check", "request": object{"status": 500}, "load": object{},
	}))
	for _, got := range out.answers {
		if got.Error == nil || *got.Error != "HTTP 500: told to fail with 500" || got.Answer != nil {
			t.Errorf("of a failed request: %+v", got)
		}
	}
	if len(out.answers) != 3 {
		t.Errorf("%d answers after failures", len(out.answers))
	}
}

// What can't be run ends at once, with a code that isn't 0 and words that name the fault.
func TestWrongUseIsSaid(t *testing.T) {
	server := start(t, nullserver.Settings{})
	for _, c := range []struct {
		changes object
		says    string
	}{
		{object{"interface": "soap"}, "only http, json, multipart"},
		{object{"interface": "grpc", "request": object{"no_such_field": 1}}, "no_such_field"},
		{object{"records": "/no/such/folder/records.csv"}, "/no/such/folder/records.csv"},
		{object{"load": object{"kind": "closed", "users": 0}}, "load.users"},
	} {
		began := time.Now()
		out := run(t, planFor(t, server, c.changes))
		if out.code == 0 || !strings.Contains(out.stderr, c.says) || time.Since(began) > time.Minute {
			t.Errorf("code %d, said %q, which does not contain %q", out.code, out.stderr, c.says)
		}
	}
	if len(server.Log.Entries()) != 0 {
		t.Error("something was sent all the same")
	}
}
