package tests

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"study/k6/clock"
	"study/k6/nullserver"
)

func constant(rate float64, users int, seconds float64) object {
	return object{
		"kind": "open", "arrivals": "constant", "max_users": users,
		"stages": []object{{"rate_per_s": rate, "seconds": seconds}},
	}
}

// Under overload no slot is lost: each has one record, at its own place in the schedule, and was sent (late, the wait
// charged to it) or dropped. A generator that shifts its schedule or skips silently hides the overload.
func TestOverloadLosesNoSlot(t *testing.T) {
	server := start(t, nullserver.Settings{Workers: 1, Service: 100 * time.Millisecond})
	out := healthy(t, planFor(t, server, object{"window_s": 2, "load": constant(50, 2, 2)}))
	if len(out.rows) != 100 || out.summary.Planned != 100 {
		t.Fatalf("%d records for %d slots", len(out.rows), out.summary.Planned)
	}
	dropped, latest := 0, int64(0)
	for i, r := range out.rows {
		if r.slot != int64(i) || r.intended != out.summary.Start+int64(i)*int64(20*time.Millisecond) {
			t.Fatalf("slot %d is recorded as %d, %d ns after the start", i, r.slot, r.intended-out.summary.Start)
		}
		if !r.dropped() {
			latest = max(latest, r.sent-r.intended)
			continue
		}
		if dropped++; r.status != -1 || r.ok || r.sent != 0 || r.done != 0 || len(r.payloads) != 1 {
			t.Fatalf("a dropped slot is recorded as %+v", r)
		}
	}
	// 2 s hold 20 services: about 22 slots can be sent.
	if dropped < 60 || int64(dropped) != out.summary.Dropped {
		t.Errorf("%d records are dropped, the summary says %d", dropped, out.summary.Dropped)
	}
	if latest < int64(time.Second) {
		t.Errorf("the latest request was sent only %v late", time.Duration(latest))
	}
	if sent := len(entries(t, server)); sent != 100-dropped {
		t.Errorf("the server saw %d requests, %d were recorded", sent, 100-dropped)
	}
}

// A stall is charged to every request whose slot lies in it, also to those that found no user free (coordinated
// omission): none of them is done before the stall is over, and their latencies say how long they had to wait.
func TestAStallIsChargedToAllItsSlots(t *testing.T) {
	server := start(t, nullserver.Settings{})
	plan := planFor(t, server, object{"window_s": 3, "load": constant(47, 4, 3)})
	k6 := begin(t, plan)
	await(t, "ten requests", func() bool { return len(server.Log.Entries()) >= 10 })
	server.Stall(time.Second)
	out := finish(t, plan, k6)
	if out.code != 0 || out.summary.Dropped != 0 || len(out.rows) != 141 {
		t.Fatalf("code %d, %d dropped, %d records: %s", out.code, out.summary.Dropped, len(out.rows), out.stderr)
	}
	// The server's record shows the stall: the one second in which it sent nothing.
	var sent []int64
	for _, entry := range server.Log.Entries() {
		sent = append(sent, entry.SentNs[0])
	}
	slices.Sort(sent)
	var from, until int64
	for i := 1; i < len(sent); i++ {
		if sent[i]-sent[i-1] > until-from {
			from, until = sent[i-1], sent[i]
		}
	}
	if until-from < int64(900*time.Millisecond) {
		t.Fatalf("the server did not stall: %v", time.Duration(until-from))
	}
	slow := 0
	for _, r := range out.rows {
		if r.intended <= from || r.intended >= until {
			continue
		}
		if slow++; r.done < until {
			t.Errorf("slot %d is done %v before the stall's end", r.slot, time.Duration(until-r.done))
		}
	}
	if slow < 40 {
		t.Errorf("only %d slots lie in a stall of a second at 47/s", slow)
	}
}

// No answer is checked while another request is under way: a check holds up the stamps of the others, and a closed user
// that checks asks later. One server behind a queue ends its last requests well apart, so that a user who checks as soon
// as it is done itself is seen too.
func TestChecksWaitForTheEndOfTheLoad(t *testing.T) {
	server := start(t, nullserver.Settings{Workers: 1, Service: 50 * time.Millisecond})
	out := healthy(t, planFor(t, server, object{
		"interface": "checked", "load": object{"kind": "closed", "users": 4},
	}))
	var last int64
	for _, r := range out.rows {
		last = max(last, r.done)
	}
	sinceBoot := time.Now().UnixNano() - clock.Now()
	for _, r := range out.rows {
		checked, err := strconv.ParseInt(strings.TrimPrefix(r.fault, "checked at "), 10, 64)
		if err != nil || r.done == 0 {
			t.Fatalf("%+v", r)
		}
		const tick = int64(time.Millisecond) // of the script's clock
		if early := last - (checked*tick + tick - sinceBoot); early > 0 {
			t.Fatalf("slot %d was checked %v before the last answer", r.slot, time.Duration(early))
		}
	}
	if len(out.rows) < 10 {
		t.Errorf("only %d requests", len(out.rows))
	}
}

// The schedule and the payloads of a seed are the same whatever the server and the number of users do: else two stacks
// would be asked different things.
func TestOneSeedIsOneWorkload(t *testing.T) {
	type asked struct {
		after   int64
		payload int64
	}
	workload := func(seed, users int, delay time.Duration) (list []asked) {
		server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: delay}})
		load := constant(60, users, 1)
		load["arrivals"] = "poisson"
		out := healthy(t, planFor(t, server, object{"seed": seed, "load": load}))
		for _, r := range out.rows {
			list = append(list, asked{r.intended - out.summary.Start, r.payloads[0]})
		}
		return list
	}
	quick, slow := workload(7, 16, 0), workload(7, 3, 30*time.Millisecond)
	if len(quick) < 30 || !slices.Equal(quick, slow) {
		t.Errorf("one seed, two workloads:\n%v\n%v", quick, slow)
	}
	if slices.Equal(quick, workload(8, 16, 0)) {
		t.Error("two seeds, one workload")
	}
}

// Closed load: each user has one request at a time and starts the next when it is free; none starts after the window,
// those in flight at its end are finished and recorded.
func TestClosedLoad(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: 150 * time.Millisecond}})
	out := healthy(t, planFor(t, server, object{"warmup_s": 0.5, "load": object{"kind": "closed", "users": 3}}))
	if length := out.summary.End - out.summary.Start; length != int64(time.Second) {
		t.Errorf("the window is %v long", time.Duration(length))
	}
	freeAt := map[int64]int64{}
	after, before := 0, 0
	for i, r := range out.rows {
		if r.slot != int64(i) || !r.ok {
			t.Fatalf("request %d is recorded as %+v", i, r)
		}
		if r.intended < freeAt[r.vu] {
			t.Errorf("user %d starts slot %d while it is busy", r.vu, r.slot)
		}
		if r.intended >= out.summary.End {
			t.Errorf("slot %d starts after the window", r.slot)
		}
		if freeAt[r.vu] = r.done; r.done > out.summary.End {
			after++
		}
		if r.intended < out.summary.Start {
			before++
		}
	}
	if len(freeAt) != 3 || after == 0 || after > 3 || before == 0 {
		t.Errorf("%d users, %d requests before the window, %d done after it", len(freeAt), before, after)
	}
}

// Request i takes the next client_batch payloads of the circle, and the server receives them all.
func TestClientBatch(t *testing.T) {
	server := start(t, nullserver.Settings{Pace: nullserver.Pace{Delay: 5 * time.Millisecond}})
	out := healthy(t, planFor(t, server, object{"interface": "multipart", "client_batch": 2}))
	var circle []int64
	for _, r := range out.rows {
		if !r.ok || len(r.payloads) != 2 {
			t.Fatalf("%+v", r)
		}
		circle = append(circle, r.payloads...)
	}
	if len(circle) < 12 {
		t.Fatalf("only %d payloads were sent", len(circle))
	}
	for i, payload := range circle {
		if payload != circle[i%3] {
			t.Fatalf("the payloads go %v, not round in a circle of 3", circle[:i+1])
		}
	}
	sizes := map[int]bool{}
	for _, entry := range entries(t, server) {
		sizes[entry.Bytes] = true
	}
	if len(sizes) != 3 {
		t.Errorf("the server received bodies of %d sizes, 3 pairs were to be sent", len(sizes))
	}
}

func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
