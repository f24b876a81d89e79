package tests

import (
	"testing"
	"time"

	"study/k6/nullserver"
)

const gap = 20 * time.Millisecond

var pace = nullserver.Pace{Delay: 40 * time.Millisecond, Gap: gap, Chunks: 8}

// For each request and chunk, by the server's own number of it:
// intended ≤ sent ≤ received by the server ≤ each chunk as sent by the server ≤ as stamped here ≤ done, and the
// distances are small against what is measured. A stamp taken before the read returns, one that is shared by chunks which
// came apart, a role-only event counted as the first token, or JavaScript between a slot and its sending breaks it.
func TestStampsAgreeWithTheServer(t *testing.T) {
	for _, c := range []struct {
		protocol string
		status   int64
		chunks   int
		headers  bool // the first byte comes at once, not with the first chunk
	}{
		{"http", 200, 0, false}, {"sse", 200, 8, true}, {"ws", 101, 8, false},
		{"grpc", 0, 0, false}, {"grpc-stream", 0, 8, false},
	} {
		t.Run(c.protocol, func(t *testing.T) {
			server := start(t, nullserver.Settings{Pace: pace})
			out := healthy(t, planFor(t, server, object{
				"interface": c.protocol, "warmup_s": 0.5, "window_s": 1.5, "load": object{
					"kind": "open", "arrivals": "constant", "max_users": 16,
					"stages": []object{{"rate_per_s": 23, "seconds": 2}},
				},
			}))
			seen := entries(t, server)
			if len(seen) != len(out.rows) || len(out.rows) != int(out.summary.Planned) {
				t.Fatalf("%d slots, %d records, %d requests at the server",
					out.summary.Planned, len(out.rows), len(seen))
			}
			var lateness, lag, gapErrors, firstErrors []int64
			for _, r := range out.rows {
				entry, found := seen[r.request]
				if !r.ok || !found || r.status != c.status {
					t.Fatalf("record %+v is not ok, or of no request that the server saw", r)
				}
				if delete(seen, r.request); len(r.chunks) != c.chunks || len(r.tokens) != c.chunks {
					t.Fatalf("%d chunks and %d token counts, %d were sent", len(r.chunks), len(r.tokens), c.chunks)
				}
				received := r.chunks
				if c.chunks == 0 {
					received = []int64{r.done}
				}
				if r.intended > r.sent || r.sent > entry.ReceivedNs || r.first > received[0] ||
					received[len(received)-1] > r.done || r.first < r.sent {
					t.Fatalf("stamps out of order: %+v, the server: %+v", r, entry)
				}
				for i, at := range received {
					if at < entry.SentNs[i] {
						t.Fatalf("chunk %d is stamped %d ns before it was sent", i, entry.SentNs[i]-at)
					}
					lag = append(lag, at-entry.SentNs[i])
					if i > 0 {
						gapErrors = append(gapErrors, abs(at-received[i-1]-entry.SentNs[i]+entry.SentNs[i-1]))
					}
				}
				lateness = append(lateness, r.sent-r.intended)
				if c.headers {
					firstErrors = append(firstErrors, r.first-entry.ReceivedNs)
				} else {
					firstErrors = append(firstErrors, abs(r.first-entry.SentNs[0]))
				}
			}
			// Medians against a fifth of the gap: a busy machine passes, a wrong definition is off by a whole gap.
			for what, values := range map[string][]int64{"late start": lateness, "lag": lag, "first byte": firstErrors} {
				if middle := median(t, values); middle > gap/5 {
					t.Errorf("%s: median %v", what, middle)
				}
			}
			if c.chunks > 0 {
				if middle := median(t, gapErrors); middle > gap/5 {
					t.Errorf("error of a gap: median %v", middle)
				}
			}
			t.Logf("median late start %v, lag %v", median(t, lateness), median(t, lag))
		})
	}
}

// A chunk is stamped when it comes even if others follow at once: a reader that waits for a full buffer, or a line
// reader that parses first, would give all chunks of a fast stream the last one's time.
func TestAFastStreamStillHasItsOwnTimes(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Gap: 2 * time.Millisecond, Chunks: 200}})
	for _, protocol := range []string{"sse", "ws", "grpc-stream"} {
		out := healthy(t, planFor(t, server, object{"interface": protocol}))
		seen := entries(t, server)
		for _, r := range out.rows {
			sent := seen[r.request].SentNs
			took, truth := r.chunks[199]-r.chunks[0], sent[199]-sent[0]
			if ratio := float64(took) / float64(truth); len(r.chunks) != 200 || ratio < 0.8 || ratio > 1.25 {
				t.Fatalf("%s: the stream took %d ns here, %d ns at the server", protocol, took, truth)
			}
		}
	}
}

// Connections are kept and reused: with a new one a request, its opening is measured as the server's latency. With
// new_connections each request opens its own, and says how long that took.
func TestConnections(t *testing.T) {
	for _, protocol := range []string{"http", "sse", "ws", "grpc", "grpc-stream"} {
		for _, fresh := range []bool{false, true} {
			server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: 5 * time.Millisecond, Chunks: 2}})
			out := healthy(t, planFor(t, server, object{
				"interface": protocol, "new_connections": fresh, "load": object{"kind": "closed", "users": 3},
			}))
			opened, requests := connectionsIn(entries(t, server)), len(out.rows)
			if requests < 30 {
				t.Fatalf("%s: only %d requests", protocol, requests)
			}
			if want := map[bool]int{false: 3, true: requests}[fresh]; opened != want {
				t.Errorf("%s, new_connections %v: %d connections for %d requests", protocol, fresh, opened, requests)
			}
			withTime := 0
			for _, r := range out.rows {
				if r.connect > 0 {
					withTime++
				}
			}
			if withTime != opened {
				t.Errorf("%s, new_connections %v: %d records say that they opened one of %d", protocol, fresh, withTime, opened)
			}
		}
	}
}

func abs(n int64) int64 { return max(n, -n) }
