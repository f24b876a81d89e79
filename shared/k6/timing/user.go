package timing

import (
	"context"
	"errors"

	"study/k6/clock"
)

var errInterrupted = errors.New("interrupted")

// user is one virtual user: it has its own connections and at most one request at a time.
type user struct {
	run         *run
	id          int64
	ctx         context.Context
	alarm       *clock.Alarm
	connections *connections
	wake        chan struct{}
	current     *exchange   // sent, not recorded yet
	unchecked   []*exchange // answered; their check waits for the end of the load
	sentAll     bool
	unanswered  int64 // when its last request failed unanswered, 0 if that was answered
}

func (r *run) newUser(ctx context.Context, id int64) (*user, error) {
	alarm, err := clock.NewAlarm(ctx)
	if err != nil {
		return nil, err
	}
	u := &user{
		run: r, id: id, ctx: ctx, alarm: alarm,
		connections: newConnections(r.plan), wake: make(chan struct{}, 1),
	}
	r.members.Lock()
	r.members.list = append(r.members.list, u)
	r.members.Unlock()
	return u, nil
}

// exchange is the next of this user's answers to be checked; nil when none is left.
//
// A check is k6.js's work, up to a millisecond in which other users' stamps on the same core are late, and in which a
// closed user doesn't ask again. So answers are checked when the whole load is over, as far as they fit into memory.
func (u *user) exchange() (*exchange, error) {
	for !u.sentAll {
		x, err := u.request()
		switch {
		case err != nil:
			return nil, err
		case x == nil:
			u.sentAll = true
			u.run.awaitSent(u.ctx.Done())
		case !u.run.defers(x):
			return x, nil
		default:
			u.unchecked, u.current = append(u.unchecked, x), nil
		}
	}
	if len(u.unchecked) == 0 {
		return nil, nil
	}
	u.current, u.unchecked = u.unchecked[0], u.unchecked[1:]
	return u.current, nil
}

// request does this user's next request, from waiting for its time to its last stamp; nil when nothing is left to send.
func (u *user) request() (*exchange, error) {
	slot, intended, err := u.take()
	if err != nil || slot < 0 {
		return nil, err
	}
	x := &exchange{record: record{
		vu: u.id, slot: slot, payloads: u.run.order.entries(slot), intended: intended,
	}}
	u.current = x
	ctx, cancel := context.WithTimeout(u.ctx, u.run.plan.timeout())
	defer cancel()
	u.run.prepared[slot%int64(len(u.run.prepared))].send(ctx, u.connections, x)
	if u.run.plan.NewConnections {
		u.connections.close()
	}
	if u.unanswered = 0; x.status == neverAnswered {
		u.unanswered = clock.Now()
	}
	return x, nil
}

// take gives the user its next request and the time it was meant to start; a negative slot when none is left.
func (u *user) take() (slot, intended int64, err error) {
	switch {
	case u.run.plan.Mode == modeCheck:
		slot, intended = u.takeCheck()
	case u.run.plan.Load.Kind == open:
		return u.takeSlot()
	default:
		slot, intended, err = u.takeFree()
	}
	return slot, intended, err
}

func (u *user) takeCheck() (slot, intended int64) {
	slot = u.run.counter.Add(1) - 1
	if slot >= int64(len(u.run.plan.Payloads)) || u.ctx.Err() != nil {
		return -1, 0
	}
	return slot, clock.Now()
}

// takeFree is closed load: the user is free now, so now is when its next request was meant to start. After a request that
// nobody answered it pauses: a server that is gone would otherwise be asked 10,000 times a second.
func (u *user) takeFree() (slot, intended int64, err error) {
	due := u.run.start
	if u.unanswered > 0 {
		due = u.unanswered + int64(pause)
	}
	if err := u.alarm.Wait(due); err != nil {
		return -1, 0, err
	}
	now := clock.Now()
	if now >= u.run.windowEnd {
		return -1, 0, nil
	}
	return u.run.counter.Add(1) - 1, now, nil
}

// takeSlot is open load: the next slot of the schedule, when it is due; at once if it is late.
//
// Only a few users wait for coming slots. The others are parked, and the one that was busy last is woken first: as in a
// client's connection pool, a low rate then stays on few connections, whose keep-alive does not run out.
func (u *user) takeSlot() (slot, intended int64, err error) {
	if err := u.await(); err != nil {
		return -1, 0, err
	}
	defer u.run.callNext()
	for {
		slot = u.run.counter.Add(1) - 1
		if slot >= int64(len(u.run.slots)) {
			return -1, 0, nil
		}
		intended = u.run.start + u.run.slots[slot]
		if clock.Now() >= u.run.windowEnd {
			u.run.drop(slot)
			continue
		}
		return slot, intended, u.alarm.Wait(intended)
	}
}

// await returns when this user may take a slot.
func (u *user) await() error {
	idle := &u.run.idle
	idle.Lock()
	if idle.waiting < ahead {
		idle.waiting++
		idle.Unlock()
		return u.ctx.Err()
	}
	idle.parked = append(idle.parked, u.wake)
	idle.Unlock()
	select {
	case <-u.wake: // in the place of the one that called
		return nil
	case <-u.ctx.Done():
		return u.ctx.Err()
	}
}

// callNext gives up a place among those that wait for a slot, to the user that was busy last.
func (r *run) callNext() {
	r.idle.Lock()
	defer r.idle.Unlock()
	last := len(r.idle.parked) - 1
	if last < 0 {
		r.idle.waiting--
		return
	}
	r.idle.parked[last] <- struct{}{}
	r.idle.parked = r.idle.parked[:last]
}
