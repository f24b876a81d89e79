package timing

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"study/k6/clock"
)

const (
	// lead is from "everyone is ready" to the schedule's start: enough for all users to reach their alarm.
	lead = 50 * time.Millisecond
	// ahead is how many users wait for a coming slot at once; see take.
	ahead = 4
	// pause is a closed user's, after a request that nobody answered.
	pause = 100 * time.Millisecond
	// uncheckedLimit is how many bytes of answers may wait for the end of the load, all users together.
	uncheckedLimit = 128 << 20
)

// run is one execution of a plan: what its users share.
type run struct {
	plan  *Plan
	order order
	users int

	// Set while the users gather, read-only once `ready` is closed.
	prepared  []request
	toPrepare atomic.Int64
	arrived   atomic.Int64
	ready     chan struct{}
	broken    chan struct{} // closed by fail: nobody waits for a user that can't come
	breaking  sync.Once
	cause     error

	start, windowStart, windowEnd int64
	slots                         []int64 // when each is due, after start; nil under closed load

	counter                       atomic.Int64 // the next request or slot
	requests, dropped, departures atomic.Int64

	unchecked atomic.Int64  // bytes of the answers whose check waits
	finished  atomic.Int64  // users that have sent all they had
	sent      chan struct{} // closed when no user has anything left to send

	idle struct {
		sync.Mutex
		waiting int             // users that hold a slot which is not due yet
		parked  []chan struct{} // users without one, the longest idle first
	}

	records *recorder
	answers *os.File
	closing sync.Once
	closed  error
	members struct {
		sync.Mutex
		list []*user
	}
}

// newRun opens the run's files and draws its schedule.
func newRun(plan *Plan) (*run, error) {
	r := &run{
		plan: plan, users: plan.users(),
		ready: make(chan struct{}), broken: make(chan struct{}), sent: make(chan struct{}),
	}
	var err error
	if plan.Mode == modeCheck {
		r.order = inSequence(len(plan.Payloads))
		if r.answers, err = os.OpenFile(plan.Answers, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
			return nil, fmt.Errorf("answers: %w", err)
		}
	} else {
		r.order = newOrder(len(plan.Payloads), plan.ClientBatch, plan.Seed)
		if plan.Load.Kind == open {
			r.slots = arrivals(plan.Load, plan.Seed, seconds(plan.WarmupS+plan.WindowS))
		}
	}
	r.prepared = make([]request, r.order.distinct())
	if plan.Records != "" {
		if r.records, err = newRecorder(plan.Records); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// prepare builds the requests that are still to be built; the users share the work before the clock starts.
func (r *run) prepare(build func(payloads []int) (request, error)) error {
	for {
		i := r.toPrepare.Add(1) - 1
		if i >= int64(len(r.prepared)) {
			return nil
		}
		built, err := build(r.order.entries(i))
		if err != nil {
			return err
		}
		r.prepared[i] = built
	}
}

// gather waits until every user is here and every request is built. The last one starts the clock.
func (r *run) gather(done <-chan struct{}) error {
	if r.arrived.Add(1) == int64(r.users) {
		runtime.GC() // what the preparations left; better now than in the window
		r.start = clock.Now() + int64(lead)
		r.windowStart = r.start + int64(seconds(r.plan.WarmupS))
		r.windowEnd = r.windowStart + int64(seconds(r.plan.WindowS))
		if err := r.writeSummary(); err != nil {
			return err
		}
		close(r.ready)
	}
	select {
	case <-r.ready:
		return nil
	case <-r.broken:
		return r.cause
	case <-done:
		return errInterrupted
	}
}

// fail ends the run for all users.
func (r *run) fail(err error) {
	r.breaking.Do(func() {
		r.cause = err
		close(r.broken)
	})
}

// defers tells whether the answer's check can wait for the end of the load. In check mode nothing is measured.
func (r *run) defers(x *exchange) bool {
	if r.plan.Mode == modeCheck {
		return false
	}
	const overhead, ofChunk = 2 << 10, 64 // the exchange itself with its headers; a chunk's stamp and slice
	size := x.bytes + overhead + ofChunk*int64(len(x.stamps))
	return r.unchecked.Add(size) <= uncheckedLimit
}

// awaitSent returns when no user has anything left to send.
func (r *run) awaitSent(done <-chan struct{}) {
	if r.finished.Add(1) == int64(r.users) {
		close(r.sent)
	}
	select {
	case <-r.sent:
	case <-r.broken:
	case <-done:
	}
}

// leave is called by a user for whom nothing is left to do. The last one completes the files.
func (r *run) leave() error {
	if r.departures.Add(1) < int64(r.users) {
		return nil
	}
	if err := r.close(); err != nil {
		return err
	}
	return r.writeSummary()
}

// close puts on the disk what was recorded, at the end of a run and when k6 is stopped before it.
func (r *run) close() error {
	r.closing.Do(func() {
		r.members.Lock()
		for _, u := range r.members.list {
			if u.current != nil {
				u.unchecked, u.current = append(u.unchecked, u.current), nil
			}
			for _, x := range u.unchecked { // stamped, but stopped before its check
				if x.fault == "" {
					x.fault = "interrupted"
				}
				r.put(&x.record)
			}
			u.unchecked = nil
		}
		r.members.Unlock()
		if r.records != nil {
			r.closed = r.records.close()
		}
		if r.answers != nil {
			if err := r.answers.Close(); r.closed == nil {
				r.closed = err
			}
		}
	})
	return r.closed
}

func (r *run) put(x *record) {
	r.requests.Add(1)
	if r.records != nil {
		r.records.put(x)
	}
}

// drop records a slot that was not sent before the window ended.
func (r *run) drop(slot int64) {
	r.dropped.Add(1)
	if r.records != nil {
		r.records.put(&record{
			slot: slot, payloads: r.order.entries(slot), intended: r.start + r.slots[slot],
			status: neverAnswered, fault: "dropped",
		})
	}
}

// writeSummary replaces the summary in one step: a reader sees the old one or the new one.
func (r *run) writeSummary() error {
	text, err := json.Marshal(map[string]any{
		"window_start_ns": r.windowStart,
		"window_end_ns":   r.windowEnd,
		"slots_planned":   len(r.slots),
		"slots_dropped":   r.dropped.Load(),
		"requests":        r.requests.Load(),
		"k6_version":      k6Version(),
		"gomaxprocs":      runtime.GOMAXPROCS(0),
	})
	if err != nil {
		return err
	}
	partial := r.plan.Summary + ".partial"
	if err := os.WriteFile(partial, text, 0o666); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	if err := os.Rename(partial, r.plan.Summary); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	return nil
}

func k6Version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "go.k6.io/k6/v2" {
				return module.Version
			}
		}
	}
	return "unknown"
}
