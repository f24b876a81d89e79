package timing

import (
	"context"
	"errors"
	"testing"
	"time"
)

// late is a context whose deadline has passed while its timer has not fired yet.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }
func (late) Err() error                  { return nil }

// A request past its deadline timed out, whoever noticed first. Judged by the context alone, a server that keeps the same
// deadline and resets the stream a moment before the client's timer fires would be charged with an error of its own.
func TestAResetAtTheDeadlineIsATimeout(t *testing.T) {
	x := &exchange{}
	x.fail(late{context.Background()}, errors.New("stream terminated by RST_STREAM"), 0.2)
	if x.fault != "timeout after 0.2 s" || x.status != neverAnswered {
		t.Errorf("status %d, fault %q", x.status, x.fault)
	}
}

// Answers wait for the end of the load only as far as they fit into memory, and never in check mode, where the next
// payload is sent when the last answer was judged. Without a bound a long run over large answers ends for want of memory.
func TestOnlySoManyAnswersWait(t *testing.T) {
	r := &run{plan: &Plan{Mode: modeLoad}}
	megabyte := &exchange{record: record{bytes: 1 << 20}}
	waiting := 0
	for waiting < 1000 && r.defers(megabyte) {
		waiting++
	}
	if waiting < 100 || waiting > uncheckedLimit>>20 {
		t.Errorf("%d answers of 1 MiB wait", waiting)
	}
	if r.defers(megabyte) {
		t.Error("one more waits")
	}
	if check := (&run{plan: &Plan{Mode: modeCheck}}); check.defers(megabyte) {
		t.Error("an answer waits in check mode")
	}
}
