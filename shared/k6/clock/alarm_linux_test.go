package clock

import (
	"context"
	"testing"
)

// connection is a context that counts who waits for its end, as the context of a long connection would hold them.
type connection struct {
	context.Context
	done    chan struct{}
	waiting int
}

func (c *connection) Done() <-chan struct{} { return c.done }

func (c *connection) AfterFunc(func()) func() bool {
	c.waiting++
	return func() bool { c.waiting--; return true }
}

// A closed alarm leaves nothing with its context; else a WebSocket's would hold one more for every message.
func TestClosedAlarmIsForgotten(t *testing.T) {
	ctx := &connection{Context: t.Context(), done: make(chan struct{})}
	alarm, err := NewAlarm(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.waiting != 1 {
		t.Fatalf("%d wait for the context's end, not the alarm", ctx.waiting)
	}
	alarm.Close()
	if ctx.waiting != 0 {
		t.Fatal("the context still holds the closed alarm")
	}
}
